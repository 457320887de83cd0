// SPDX-License-Identifier: MIT

//go:build windows && kshm_test_section

package sys

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// NOT FOR USE. The test build, for systems that hand a driver a copy of the
// caller's memory, such as Wine: memory from Alloc is a view of a section with
// a name, and the driver, built with driver/windows/seam_test.c, maps that
// section. Any process could open it.

var sections = struct {
	sync.Mutex
	count  int
	byView map[uint64]namedSection // by the address of the view
}{byView: make(map[uint64]namedSection)}

type namedSection struct {
	name   string
	handle windows.Handle
	view   []byte
}

// Alloc maps a section of size bytes. There are no large pages here.
func Alloc(size int, huge bool) ([]byte, error) {
	if huge {
		return virtualAlloc(size, huge)
	}
	sections.Lock()
	defer sections.Unlock()
	sections.count++
	name := fmt.Sprintf("kshm-test-%d-%d", os.Getpid(), sections.count)
	utf16, err := windows.UTF16PtrFromString(`Global\` + name)
	if err != nil {
		return nil, err
	}
	n := pageUp(size)
	h, err := windows.CreateFileMapping(windows.InvalidHandle, nil, windows.PAGE_READWRITE, uint32(uint64(n)>>32), uint32(n), utf16)
	if err != nil {
		return nil, fmt.Errorf("section %s: %w", name, err)
	}
	addr, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ|windows.FILE_MAP_WRITE, 0, 0, uintptr(n))
	if err != nil {
		windows.CloseHandle(h)
		return nil, fmt.Errorf("map section %s: %w", name, err)
	}
	view := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), n)
	sections.byView[address(view)] = namedSection{name, h, view}
	return view[:size], nil
}

// Free gives back memory from Alloc.
func Free(mem []byte) error {
	sections.Lock()
	defer sections.Unlock()
	s, ok := sections.byView[address(mem)]
	if !ok {
		return virtualFree(mem)
	}
	delete(sections.byView, address(mem))
	if err := windows.UnmapViewOfFile(uintptr(address(mem))); err != nil {
		return err
	}
	return windows.CloseHandle(s.handle)
}

// shareTail is struct kshm_test_tail of driver/windows/seam_test.h.
func shareTail(mem []byte) []byte {
	sections.Lock()
	defer sections.Unlock()
	for _, s := range sections.byView {
		if off, ok := Within(s.view, mem); ok {
			var tail struct {
				section, event [64]uint16
				offset         uint64
			}
			copy(tail.section[:], windows.StringToUTF16(`\BaseNamedObjects\`+s.name))
			tail.offset = uint64(off)
			return bytesOf(&tail)
		}
	}
	return nil // memory of another kind: the driver gets a copy
}
