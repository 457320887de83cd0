// SPDX-License-Identifier: MIT

package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Section is memory that can be mapped more than once: every view of it shows
// the same pages.
type Section struct {
	handle windows.Handle
	size   int
}

// granularity is what the offset of a view must be a multiple of.
const granularity = 64 << 10

// NewSection makes zeroed memory of size bytes, rounded up to whole pages.
func NewSection(size int) (*Section, error) {
	size = pageUp(size)
	h, err := windows.CreateFileMapping(windows.InvalidHandle, nil, windows.PAGE_READWRITE,
		uint32(uint64(size)>>32), uint32(size), nil)
	if err != nil {
		return nil, fmt.Errorf("section of %d bytes: %w", size, err)
	}
	return &Section{h, size}, nil
}

// Close gives the section back. Its views stay.
func (s *Section) Close() error { return windows.CloseHandle(s.handle) }

// View is one mapping of a part of a section.
type View struct {
	Bytes []byte
	base  []byte
}

// Map maps length bytes from off, which is a multiple of the page size.
func (s *Section) Map(off, length int, write bool) (*View, error) {
	access := uint32(windows.FILE_MAP_READ)
	if write {
		access |= windows.FILE_MAP_WRITE
	}
	start := off &^ (granularity - 1)
	skip := off - start
	n := skip + pageUp(length)
	addr, err := windows.MapViewOfFile(s.handle, access, uint32(uint64(start)>>32), uint32(start), uintptr(n))
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", length, err)
	}
	// The address is the system's, not the collector's: read it as a pointer.
	base := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), n)
	return &View{Bytes: base[skip : skip+length : skip+length], base: base}, nil
}

// Deny makes any access to the view fault. Its addresses stay taken.
func (v *View) Deny() error {
	var old uint32
	return windows.VirtualProtect(v.addr(), uintptr(len(v.base)), windows.PAGE_NOACCESS, &old)
}

// Unmap ends the view.
func (v *View) Unmap() error { return windows.UnmapViewOfFile(v.addr()) }

func (v *View) addr() uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(v.base))) }
