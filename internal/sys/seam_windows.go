// SPDX-License-Identifier: MIT

//go:build windows && !kshm_test_section

package sys

// Alloc maps size bytes of zeroed memory.
func Alloc(size int, huge bool) ([]byte, error) { return virtualAlloc(size, huge) }

// Free gives back memory from Alloc.
func Free(mem []byte) error { return virtualFree(mem) }

// shareTail is what follows the arguments of SHARE: nothing.
func shareTail([]byte) []byte { return nil }
