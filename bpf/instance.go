// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"kshm/internal/sys"
)

// The names of kshm.bpf.h.
const (
	arenaMap       = "kshm_arena"
	stateMap       = "kshm_state"
	slotsMap       = "kshm_slots"
	inputsMap      = "kshm_inputs"
	doorbellMap    = "kshm_doorbell"
	commandProgram = "kshm_command"
	kickProgram    = "kshm_kick"

	levels    = 4  // slots per CPU
	maxInputs = 64 // rings in the direction ToKernel
	version   = 1  // of the header's maps and commands
)

// state is struct kshm_state: the kernel's word on one share.
type state struct {
	Version, Live uint32
	Base, Length  uint64
	Cookie        uint64
	CorruptOffset uint64
	CorruptWhy    uint32
	Ticking       uint32
	_             [8]uint64
	Kicks         uint64
	Events        uint64
	Failures      uint64
	Ticks         uint64
	Revoked       uint64
	_             [3]uint64
}

// command is struct kshm_command.
type command struct {
	Op, Index    uint32
	Base, Length uint64
	Cookie       uint64
	Offset       uint64
	Capacity     uint32
	_            uint32
}

// The steps of a share: KSHM_OP_*.
const (
	opShare     = 1
	opOutput    = 2
	opInput     = 3
	opLive      = 4
	opStop      = 5
	opTake      = 6
	opTakeInput = 7
	opTick      = 8
	opCancel    = 9
)

// instance is an object in the kernel: maps and programs for one share.
type instance struct {
	*ebpf.Collection
	links []io.Closer
	seen  []byte // the state, mapped
}

// newInstance creates the object's maps, with the given ones in their places,
// and loads its programs.
func newInstance(spec *ebpf.CollectionSpec, replace map[string]*ebpf.Map, kernel *btf.Cache) (*instance, error) {
	maps := &ebpf.CollectionSpec{Maps: spec.Maps, Variables: spec.Variables, Types: spec.Types, ByteOrder: spec.ByteOrder}
	c, err := ebpf.NewCollectionWithOptions(maps, ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		return nil, err
	}
	in := &instance{Collection: c}
	for name, p := range spec.Programs {
		prog, err := loadProgram(p, c.Maps, kernel)
		if err != nil {
			in.close()
			return nil, err
		}
		c.Programs[name] = prog
	}
	// Frozen: user space reads it alone. A map that is made read-only cannot be
	// mapped at all.
	if err := errors.Join(c.Maps[stateMap].Freeze(), in.look()); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// look maps the state: reading it is no system call.
func (in *instance) look() (err error) {
	in.seen, err = sys.Map(in.Maps[stateMap].FD(), 0, os.Getpagesize(), false)
	if err != nil {
		return fmt.Errorf("map %s: %w", stateMap, err)
	}
	return nil
}

// run has the kernel do one step.
func (in *instance) run(c command) error {
	return run(in.Programs[commandProgram], bytesOf(&c))
}

// run runs a program. The library's own way would first probe the kernel,
// which takes the right to load programs. Results below 0 are errnos.
func run(p *ebpf.Program, context []byte) error {
	result, err := sys.RunBPF(p.FD(), context)
	if err != nil {
		return err
	}
	if n := int32(result); n < 0 {
		return syscall.Errno(-n)
	}
	return nil
}

// detach ends the hooks: no program is started by one any more.
func (in *instance) detach() error {
	err := closeAll(in.links)
	in.links = nil
	return err
}

func (in *instance) close() error {
	err := in.detach()
	in.Collection.Close()
	if in.seen != nil {
		err = errors.Join(err, sys.Unmap(in.seen))
		in.seen = nil
	}
	return err
}

func closeAll[T io.Closer](all []T) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// check tells whether the object includes the kshm.bpf.h of this package.
func check(spec *ebpf.CollectionSpec) error {
	for _, name := range []string{arenaMap, stateMap, slotsMap, inputsMap, doorbellMap} {
		if spec.Maps[name] == nil {
			return fmt.Errorf("the object has no map %s: it does not include kshm.bpf.h", name)
		}
	}
	if spec.Programs[commandProgram] == nil {
		return fmt.Errorf("the object has no program %s: it does not include kshm.bpf.h", commandProgram)
	}
	if name, wrong := wrongSize(spec); wrong {
		return fmt.Errorf("the object was compiled with another version of kshm.bpf.h: the values of %s have %d bytes", name, spec.Maps[name].ValueSize)
	}
	return nil
}
