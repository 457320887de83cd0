// SPDX-License-Identifier: MIT

package sys

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// Alloc maps size bytes of zeroed anonymous memory. A forked child does not
// get it (MADV_DONTFORK): fork would copy pinned pages to the child at once,
// for nothing, since the child's copies are not the driver's pages.
func Alloc(size int, huge bool) ([]byte, error) {
	flags, length := unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, size
	if huge {
		flags |= unix.MAP_HUGETLB | 21<<unix.MAP_HUGE_SHIFT
		length = (size + hugePage - 1) &^ (hugePage - 1)
	}
	mem, err := unix.Mmap(-1, 0, length, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		e := &Error{Err: fmt.Errorf("mmap %d bytes: %w", length, err)}
		if huge && errors.Is(err, unix.ENOMEM) {
			e.Remedy = fmt.Sprintf("raise vm.nr_hugepages by %d", length/hugePage)
		}
		return nil, e
	}
	if err := unix.Madvise(mem, unix.MADV_DONTFORK); err != nil {
		unix.Munmap(mem)
		return nil, fmt.Errorf("madvise: %w", err)
	}
	return mem[:size], nil
}

// Free unmaps memory from Alloc.
func Free(mem []byte) error { return unix.Munmap(mem[:cap(mem)]) }
