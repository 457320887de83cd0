// SPDX-License-Identifier: MIT

//go:build unix

package sys

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Section is memory that can be mapped more than once: every view of it shows
// the same pages.
type Section struct {
	file *os.File
	size int
}

// NewSection makes zeroed memory of size bytes, rounded up to whole pages.
func NewSection(size int) (*Section, error) {
	size = pageUp(size)
	f, err := sectionFile()
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(int64(size)); err != nil {
		f.Close()
		return nil, fmt.Errorf("section of %d bytes: %w", size, err)
	}
	return &Section{f, size}, nil
}

// Close gives the section back. Its views stay.
func (s *Section) Close() error { return s.file.Close() }

// View is one mapping of a part of a section.
type View struct {
	Bytes []byte
	base  []byte
}

// Map maps length bytes from off, which is a multiple of the page size.
func (s *Section) Map(off, length int, write bool) (*View, error) {
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	base, err := unix.Mmap(int(s.file.Fd()), int64(off), pageUp(length), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", length, err)
	}
	return &View{Bytes: base[:length:length], base: base}, nil
}

// Deny makes any access to the view fault. Its addresses stay taken.
func (v *View) Deny() error { return unix.Mprotect(v.base, unix.PROT_NONE) }

// Unmap ends the view.
func (v *View) Unmap() error { return unix.Munmap(v.base) }
