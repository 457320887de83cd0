// SPDX-License-Identifier: MIT

//go:build linux

package ring_test

import (
	"fmt"
	"unsafe"
)

// view is the word at offset at of shared memory.
func view(mem []byte, at int) (*uint64, error) {
	if at < 0 || at > len(mem)-8 || at%8 != 0 {
		return nil, fmt.Errorf("no word at offset %d", at)
	}
	return (*uint64)(unsafe.Pointer(&mem[at])), nil
}
