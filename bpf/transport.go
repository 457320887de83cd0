// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"kshm"
	"kshm/internal/abi"
)

// transport is an object and the memory of its shares.
type transport struct {
	options Options
	spec    *ebpf.CollectionSpec // nil: the instance was handed to us
	arena   *arena
	cpus    int
	kernel  *btf.Cache

	mu     sync.Mutex
	spare  *instance // for the next share, or nil
	shares int
}

func (t *transport) Info() kshm.Info {
	size := uint64(len(t.arena.mem))
	return kshm.Info{
		KernelSide: "eBPF", Driver: t.options.Name, Major: abi.Major, Minor: abi.Minor, Features: kshm.FeatureRings,
		PageSize: os.Getpagesize(), MinLength: uint64(t.options.MinLength), MaxLength: size, MaxUserBytes: size,
		MaxOpenShares: uint32(t.options.MaxShares), MaxUserShares: uint32(t.options.MaxShares),
	}
}

func (t *transport) Alloc(size int, o kshm.AllocOptions) ([]byte, func() error, error) {
	if o.HugePages {
		return nil, nil, fmt.Errorf("%w: an arena has no huge pages", kshm.ErrNotSupported)
	}
	return t.arena.alloc(size)
}

func (t *transport) Share(mem []byte, o kshm.ShareOptions) (kshm.Session, error) {
	switch {
	case o.ReadOnly:
		return nil, fmt.Errorf("%w: an arena is writable", kshm.ErrNotSupported)
	case o.Event != 0:
		return nil, fmt.Errorf("%w: event handles are for Windows", kshm.ErrInvalid)
	case len(mem) == 0 || !t.arena.holds(mem):
		return nil, &kshm.OpError{Err: fmt.Errorf("%w: the memory is not of this device's arena", kshm.ErrMemory), Remedy: "share memory from Alloc of the same device"}
	}
	if len(mem) < t.options.MinLength {
		return nil, fmt.Errorf("%w: %d bytes, at least %d", kshm.ErrRange, len(mem), t.options.MinLength)
	}
	g, err := geometryOf(o.Rings, len(mem), t.cpus)
	if err != nil {
		return nil, err
	}
	in, err := t.take()
	if err != nil {
		return nil, err
	}
	s, err := t.begin(in, mem, g, o.Cookie)
	if err != nil {
		in.close()
		t.ended()
		return nil, err
	}
	return s, nil
}

// take returns an instance that has had no share yet.
func (t *transport) take() (*instance, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shares == t.options.MaxShares {
		return nil, fmt.Errorf("%w: %d shares", kshm.ErrLimit, t.shares)
	}
	in := t.spare
	if in == nil && t.spec == nil {
		return nil, &kshm.OpError{Err: fmt.Errorf("%w: an object that was handed over serves one share", kshm.ErrLimit), Remedy: "have the loader hand over another one"}
	}
	if in == nil {
		var err error
		if in, err = t.load(); err != nil {
			return nil, err
		}
	}
	t.spare = nil
	t.shares++
	return in, nil
}

// ended counts a share out.
func (t *transport) ended() {
	t.mu.Lock()
	t.shares--
	t.mu.Unlock()
}

// attach attaches the object's hooks.
func (t *transport) attach(in *instance) (err error) {
	var links []link.Link
	switch {
	case t.spec == nil: // the loader has
	case len(in.links) > 0: // Load has
	case t.options.Attach != nil:
		links, err = t.options.Attach(in.Collection)
	default:
		links, err = Attach(t.spec, in.Collection)
	}
	for _, l := range links {
		in.links = append(in.links, l)
	}
	return err
}

// Control: eBPF objects have no codes.
func (t *transport) Control(context.Context, kshm.ControlCode, []byte, []byte) (int, error) {
	return 0, fmt.Errorf("%w: an eBPF object has no control codes", kshm.ErrNotSupported)
}

func (t *transport) Close() error {
	t.mu.Lock()
	spare := t.spare
	t.spare = nil
	t.mu.Unlock()
	var err error
	if spare != nil {
		err = spare.close()
	}
	return errors.Join(err, t.arena.close())
}
