// SPDX-License-Identifier: MIT

package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

var getLargePageMinimum = windows.NewLazySystemDLL("kernel32.dll").NewProc("GetLargePageMinimum")

// virtualAlloc maps size bytes of zeroed memory.
func virtualAlloc(size int, huge bool) ([]byte, error) {
	kind, length := uint32(windows.MEM_RESERVE|windows.MEM_COMMIT), size
	if huge {
		page, _, _ := getLargePageMinimum.Call()
		if page == 0 {
			return nil, fmt.Errorf("%w: no large pages on this system", windows.ERROR_NOT_SUPPORTED)
		}
		kind |= windows.MEM_LARGE_PAGES
		length = (size + int(page) - 1) / int(page) * int(page)
	}
	addr, err := windows.VirtualAlloc(0, uintptr(length), kind, windows.PAGE_READWRITE)
	if err != nil {
		e := &Error{Err: fmt.Errorf("VirtualAlloc of %d bytes: %w", length, err)}
		if huge {
			e.Remedy = "large pages need the privilege to lock pages in memory (SeLockMemoryPrivilege, enabled) and memory that is not fragmented"
		}
		return nil, e
	}
	// The address is the system's, not the collector's: read it as a pointer.
	mem := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), length)
	return mem[:size], nil
}

func virtualFree(mem []byte) error {
	return windows.VirtualFree(uintptr(unsafe.Pointer(unsafe.SliceData(mem))), 0, windows.MEM_RELEASE)
}
