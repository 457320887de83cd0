// SPDX-License-Identifier: MIT

package kshmtest

import (
	"fmt"
	"sync"

	"kshm"
	"kshm/internal/sys"
)

// allocation is memory of the program: the first view of a section of which
// the kernel can make others.
type allocation struct {
	section *sys.Section
	view    *sys.View // the program's

	mu   sync.Mutex
	refs int // the program and the locked MDLs; the last one closes the section
}

// allocations are all that exist, of every device: memory of one may be shared
// with another.
var allocations struct {
	sync.Mutex
	live map[*allocation]struct{}
}

func allocate(size int, o kshm.AllocOptions) ([]byte, func() error, error) {
	if o.HugePages {
		return nil, nil, fmt.Errorf("%w: the model has no huge pages", kshm.ErrNotSupported)
	}
	section, err := sys.NewSection(size)
	if err != nil {
		return nil, nil, err
	}
	view, err := section.Map(0, size, true)
	if err != nil {
		section.Close()
		return nil, nil, err
	}
	a := &allocation{section: section, view: view, refs: 1}
	allocations.Lock()
	if allocations.live == nil {
		allocations.live = make(map[*allocation]struct{})
	}
	allocations.live[a] = struct{}{}
	allocations.Unlock()
	return view.Bytes, a.free, nil
}

// free is the program's: its own view goes; pages that the kernel has locked
// stay until they are unlocked.
func (a *allocation) free() error {
	allocations.Lock()
	delete(allocations.live, a)
	allocations.Unlock()
	a.release()
	return a.view.Unmap()
}

func (a *allocation) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refs--
	if a.refs == 0 {
		a.section.Close()
	}
}

// findAllocation says which memory mem is part of, and where in it; it takes a
// reference.
func findAllocation(mem []byte) (*allocation, int) {
	allocations.Lock()
	defer allocations.Unlock()
	for a := range allocations.live {
		if off, ok := sys.Within(a.view.Bytes, mem); ok {
			a.mu.Lock()
			a.refs++
			a.mu.Unlock()
			return a, off
		}
	}
	return nil, 0
}
