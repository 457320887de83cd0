// SPDX-License-Identifier: MIT

package kshmtest

import (
	"fmt"
	"sync"

	"kshm"
	"kshm/internal/sys"
)

// MDL describes the locked pages of a SHARE request's buffer.
type MDL struct {
	memory *allocation
	offset int
	length int
	write  bool

	mu       sync.Mutex
	view     *sys.View
	unlocked bool
}

// Length is the length of the buffer in bytes.
func (m *MDL) Length() int { return m.length }

// MapToSystemSpace returns the shared bytes at an address of the kernel's: a
// second mapping of the program's pages, the same one each time. A share that
// is read-only for the kernel cannot be written through it. It is valid until
// the request completes; then any access faults.
func (m *MDL) MapToSystemSpace() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unlocked {
		bugcheck("MapToSystemSpace on a request that has completed")
	}
	if m.view == nil {
		view, err := m.memory.section.Map(m.offset, m.length, m.write)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", StatusInsufficientResources, err)
		}
		m.view = view
	}
	return m.view.Bytes, nil
}

// probeAndLock finds the memory behind the program's bytes and locks it.
func probeAndLock(mem []byte, write bool) (*MDL, error) {
	if len(mem) == 0 || sys.PageOffset(mem) != 0 {
		return nil, fmt.Errorf("%w: empty or misaligned memory", kshm.ErrInvalid)
	}
	a, off := findAllocation(mem)
	if a == nil {
		return nil, &kshm.OpError{Err: fmt.Errorf("%w: the model cannot map it a second time", kshm.ErrMemory),
			Remedy: "with the model, share memory from Device.Alloc, or a part of it"}
	}
	return &MDL{memory: a, offset: off, length: len(mem), write: write}, nil
}

// unlock takes the system address away and lets the pages go.
func (m *MDL) unlock() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unlocked = true
	if m.view != nil {
		if err := m.view.Deny(); err != nil {
			bugcheck("unmapping the system address: %v", err)
		}
		quarantine.put(m.view)
	}
	m.memory.release()
}

// graveyard keeps the addresses of the last ended shares taken, so that a late
// access faults instead of hitting the next share.
type graveyard struct {
	mu    sync.Mutex
	views [64]*sys.View
	next  int
}

var quarantine graveyard

func (g *graveyard) put(v *sys.View) {
	g.mu.Lock()
	old := g.views[g.next]
	g.views[g.next] = v
	g.next = (g.next + 1) % len(g.views)
	g.mu.Unlock()
	if old != nil {
		if err := old.Unmap(); err != nil {
			bugcheck("unmapping an old system address: %v", err)
		}
	}
}
