// SPDX-License-Identifier: MIT

package kshm

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"kshm/internal/sys"
)

// Buffer is memory that can be shared: page aligned, outside the Go heap, at
// the same address until Close.
type Buffer struct {
	mem  []byte
	free func() error // nil for wrapped memory

	mu     sync.Mutex
	shares int // live shares that use the memory
	closed *atomic.Bool
}

// Wrap makes a buffer of memory that the program mapped itself. The memory
// starts on a page, is not Go heap memory (the collector gives such memory
// back to the system), and stays mapped until every share of it has ended.
// kshm never unmaps, advises or protects it; Close only ends its use.
//
// Errors: ErrInvalid for an empty or misaligned mem.
func Wrap(mem []byte) (*Buffer, error) {
	if off := sys.PageOffset(mem); off != 0 {
		return nil, &OpError{Op: "wrap", Err: fmt.Errorf("%w: start is %d bytes into a page", ErrInvalid, off),
			Remedy: "map the memory with mmap or VirtualAlloc, or use Device.Alloc"}
	}
	return WrapAny(mem)
}

// WrapAny is Wrap for memory that starts anywhere: inside another structure,
// say, or in a C program's heap. Drivers of the classic recipe take it, opened
// WithCodes; other devices refuse to share it, with ErrInvalid, unless it
// happens to start on a page. The driver can reach the rest of the first and
// the last page as well.
//
// Errors: ErrInvalid for an empty mem.
func WrapAny(mem []byte) (*Buffer, error) {
	if len(mem) == 0 {
		return nil, &OpError{Op: "wrap", Err: fmt.Errorf("%w: no memory", ErrInvalid), Remedy: "give 1 byte or more"}
	}
	return &Buffer{mem: mem[:len(mem):len(mem)], closed: new(atomic.Bool)}, nil
}

func newBuffer(mem []byte, free func() error) *Buffer {
	b := &Buffer{mem: mem, free: free, closed: new(atomic.Bool)}
	runtime.AddCleanup(b, func(closed *atomic.Bool) {
		if !closed.Load() {
			leakedBuffers.Add(1)
		}
	}, b.closed)
	return b
}

// Bytes is the memory itself. The slice must not be used after Close.
func (b *Buffer) Bytes() []byte { return b.mem }

// Len is the length in bytes that was asked for.
func (b *Buffer) Len() int { return len(b.mem) }

// Close frees memory that came from Alloc; it is the only thing that does. No
// slice of the buffer may be used afterwards. It refuses with ErrShared while
// a share of the buffer lives. A second call does nothing.
func (b *Buffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return nil
	}
	if b.shares > 0 {
		return &OpError{Op: "close", Err: ErrShared, Remedy: "close the share first"}
	}
	if b.free != nil {
		if err := b.free(); err != nil {
			return opError("close", "", err)
		}
	}
	b.closed.Store(true)
	b.mem = nil
	return nil
}

// hold keeps the memory for one share.
func (b *Buffer) hold() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return fmt.Errorf("%w: buffer", ErrClosed)
	}
	b.shares++
	return nil
}

func (b *Buffer) release() {
	b.mu.Lock()
	b.shares--
	b.mu.Unlock()
}
