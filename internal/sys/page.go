// SPDX-License-Identifier: MIT

package sys

import (
	"os"
	"unsafe"
)

// PageOffset is how many bytes into its page mem starts.
func PageOffset(mem []byte) int { return OffsetIn(mem, os.Getpagesize()) }

// OffsetIn is how far beyond a multiple of align mem starts, in bytes.
func OffsetIn(mem []byte, align int) int { return int(address(mem) % uint64(align)) }

// address is the first byte's address, as the kernel's commands take it.
func address(mem []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
}

// pageUp rounds n up to whole pages.
func pageUp(n int) int {
	page := os.Getpagesize()
	return (n + page - 1) &^ (page - 1)
}

// Within is where in outer the bytes of inner lie; ok is false unless all of
// them do.
func Within(outer, inner []byte) (off int, ok bool) {
	o, i := address(outer), address(inner)
	if i < o || i-o > uint64(len(outer)) || uint64(len(inner)) > uint64(len(outer))-(i-o) {
		return 0, false
	}
	return int(i - o), true
}
