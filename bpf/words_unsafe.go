// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"sync/atomic"
	"unsafe"
)

// word and half are the shared words at an offset of mem, which is in bounds
// and aligned.
func word(mem []byte, at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&mem[at])) }

func half(mem []byte, at int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&mem[at])) }

const (
	stateSize = uint32(unsafe.Sizeof(state{}))
	slotSize  = uint32(unsafe.Sizeof(slotState{}))
	inputSize = uint32(unsafe.Sizeof(inputState{}))
)

// state reads what the kernel's programs say of the share, word by word.
func (in *instance) state() (s state) {
	to := (*[stateSize / 8]uint64)(unsafe.Pointer(&s))
	for i := range to {
		to[i] = word(in.seen, 8*i).Load()
	}
	return s
}

// bytesOf is the command as the kernel reads it.
func bytesOf(c *command) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c))
}
