// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"

	"github.com/cilium/ebpf"

	"kshm"
	"kshm/internal/sys"
)

// span is the distance of the places where arenas are mapped: an arena has
// less than 4 GiB and may not cross such a boundary.
const span = 4 << 30

// arena is the memory that all shares of a device lie in. It stays mapped
// until the device is closed and every buffer has been freed.
type arena struct {
	m   *ebpf.Map
	mem []byte

	mu     sync.Mutex
	used   []bool // by page
	live   int    // allocations
	closed bool
}

// newArena makes and maps an arena. Where is up to us: programs in other
// processes that are handed the descriptors map it at the same address, so it
// is one that nothing else uses.
func newArena(spec *ebpf.MapSpec, size int) (*arena, error) {
	spec = spec.Copy()
	page := os.Getpagesize()
	spec.MaxEntries = uint32(size / page)
	for try := 0; ; try++ {
		spec.MapExtra = 0x1000_0000_0000 + span*rand.Uint64N(4096)
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return nil, err
		}
		a, err := mapArena(m, spec.MapExtra)
		if err == nil {
			return a, nil
		}
		m.Close()
		if !errors.Is(err, syscall.EEXIST) || try == 16 {
			return nil, err
		}
	}
}

// mapArena maps an arena that exists, and owns it if that succeeds.
func mapArena(m *ebpf.Map, at uint64) (*arena, error) {
	page := os.Getpagesize()
	mem, err := sys.MapAt(m.FD(), at, int(m.MaxEntries())*page)
	if err != nil {
		return nil, fmt.Errorf("map the arena: %w", err)
	}
	return &arena{m: m, mem: mem, used: make([]bool, m.MaxEntries())}, nil
}

func (a *arena) start() uint64 { return sys.AddressOf(a.mem) }

// holds tells whether mem is part of the arena.
func (a *arena) holds(mem []byte) bool {
	at := sys.AddressOf(mem)
	return at >= a.start() && at-a.start() <= uint64(len(a.mem)) && uint64(len(mem)) <= uint64(len(a.mem))-(at-a.start())
}

// alloc takes the first run of pages that is long enough. They are zeroed,
// which also makes them exist: what the kernel writes to a page that does not
// is lost.
func (a *arena) alloc(size int) ([]byte, func() error, error) {
	page := os.Getpagesize()
	n := (size + page - 1) / page
	a.mu.Lock()
	defer a.mu.Unlock()
	first := a.find(n)
	if a.closed || first < 0 {
		return nil, nil, &kshm.OpError{Err: fmt.Errorf("%w: no %d free bytes in an arena of %d", kshm.ErrLimit, size, len(a.mem)),
			Remedy: "raise Options.ArenaSize"}
	}
	for i := range n {
		a.used[first+i] = true
	}
	a.live++
	mem := a.mem[first*page : first*page+size : (first+n)*page]
	clear(mem[:cap(mem)])
	return mem, func() error { return a.free(first, n) }, nil
}

func (a *arena) find(n int) int {
	run := 0
	for i, used := range a.used {
		if run++; used {
			run = 0
		}
		if run == n {
			return i - n + 1
		}
	}
	return -1
}

func (a *arena) free(first, n int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range n {
		a.used[first+i] = false
	}
	a.live--
	return a.unmap()
}

// close gives the arena back, now or with the last buffer.
func (a *arena) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return errors.Join(a.m.Close(), a.unmap())
}

func (a *arena) unmap() error {
	if !a.closed || a.live > 0 {
		return nil
	}
	return sys.UnmapAt(a.mem)
}
