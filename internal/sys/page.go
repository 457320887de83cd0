// SPDX-License-Identifier: MIT

package sys

import (
	"os"
	"unsafe"
)

// PageOffset is how many bytes into its page mem starts.
func PageOffset(mem []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(mem))) % uintptr(os.Getpagesize()))
}

// address is the first byte's address, as the kernel's commands take it.
func address(mem []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
}
