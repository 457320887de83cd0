// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"fmt"
	"math"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"kshm"
)

// Options are the choices of Open. The zero value is the default.
type Options struct {
	// Name is the driver's name, for errors and Info; "bpf" if empty.
	Name string
	// ArenaSize is the memory for all buffers of the device, in bytes: at
	// most 4 GiB minus two pages. Pages exist once they are allocated.
	// 0: 64 MiB.
	ArenaSize int
	// Batch is how many bytes of records a CPU may hold back to publish them
	// at once, while the program is awake; 0: 4096, 1: none.
	Batch int
	// Flush is how long it may hold them back; 0: 1 ms.
	Flush time.Duration
	// MinLength is the least length of a share in bytes, if the object's
	// programs need more than 1.
	MinLength int
	// MaxShares is how many shares the device has at a time; 0: 16.
	MaxShares int
	// Maps take the places of the object's own maps of these names, in every
	// share. They stay the caller's.
	Maps map[string]*ebpf.Map
	// Attach attaches the programs of a new share and returns what keeps them
	// attached, which the share closes. nil: what the function Attach does.
	// The end of the share closes the collection too: clone what outlives it.
	Attach func(*ebpf.Collection) ([]link.Link, error)
}

func (o *Options) fill() error {
	page := os.Getpagesize()
	if o.Name == "" {
		o.Name = "bpf"
	}
	if o.ArenaSize == 0 {
		o.ArenaSize = 64 << 20
	}
	if o.Batch == 0 {
		o.Batch = 4096
	}
	if o.Flush == 0 {
		o.Flush = time.Millisecond
	}
	if o.MinLength == 0 {
		o.MinLength = 1
	}
	if o.MaxShares == 0 {
		o.MaxShares = 16
	}
	o.ArenaSize = (o.ArenaSize + page - 1) &^ (page - 1)
	switch {
	case o.ArenaSize < 0 || uint64(o.ArenaSize) > math.MaxUint32-uint64(2*page):
		return fmt.Errorf("%w: an arena of %d bytes", kshm.ErrInvalid, o.ArenaSize)
	case o.Batch < 0 || o.Batch > math.MaxInt32 || o.Flush < 0 || o.MinLength < 0 || o.MaxShares < 0:
		return fmt.Errorf("%w: a negative or huge option", kshm.ErrInvalid)
	}
	return nil
}

// Open opens an object whose programs include kshm.bpf.h, as
// ebpf.LoadCollectionSpec or bpf2go give it. The object is loaded once, so
// that what the kernel does not take is known now.
//
// Errors: ErrNotSupported and ErrPermission, which name the kernel version or
// the capability that is missing; [*VerifierError]; ErrInvalid for an object
// that is not built on kshm.bpf.h.
func Open(spec *ebpf.CollectionSpec, o *Options) (*kshm.Device, error) {
	if o == nil {
		o = &Options{}
	}
	options := *o
	t, err := open(spec, options)
	if err != nil {
		return nil, openError(options.Name, err)
	}
	return kshm.NewDevice(t.options.Name, t), nil
}

func open(spec *ebpf.CollectionSpec, o Options) (*transport, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if err := check(spec); err != nil {
		return nil, fmt.Errorf("%w: %w", kshm.ErrInvalid, err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	a, err := newArena(spec.Maps[arenaMap], o.ArenaSize)
	if err != nil {
		return nil, noArena(err)
	}
	t := &transport{options: o, arena: a, cpus: cpus, kernel: btf.NewCache(), spec: spec.Copy()}
	if err := t.prepare(); err != nil {
		a.close()
		return nil, err
	}
	if t.spare, err = t.load(); err != nil {
		err = t.notLoaded(err)
		a.close()
		return nil, err
	}
	return t, nil
}

// prepare sets in the object what is constant for all shares.
func (t *transport) prepare() error {
	t.spec.Maps[slotsMap].MaxEntries = uint32(t.cpus * levels)
	t.spec.Maps[arenaMap].MaxEntries = t.arena.m.MaxEntries()
	t.spec.Maps[arenaMap].MapExtra = t.arena.start()
	for name, value := range map[string]any{
		"kshm_arena_start": t.arena.start(),
		"kshm_arena_size":  uint64(len(t.arena.mem)),
		"kshm_batch":       uint32(t.options.Batch),
		"kshm_flush_ns":    uint64(t.options.Flush),
	} {
		v := t.spec.Variables[name]
		if v == nil {
			return fmt.Errorf("%w: the object has no variable %s", kshm.ErrInvalid, name)
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("%w: variable %s: %w", kshm.ErrInvalid, name, err)
		}
	}
	return nil
}

// load makes an instance for one share.
func (t *transport) load() (*instance, error) {
	maps := map[string]*ebpf.Map{arenaMap: t.arena.m}
	for name, m := range t.options.Maps {
		maps[name] = m
	}
	return newInstance(t.spec, maps, t.kernel)
}
