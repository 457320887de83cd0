// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"time"

	"github.com/cilium/ebpf"

	"kshm/internal/abi"
	"kshm/ring"
)

// end is struct kshm_ring: one end of a ring, in memory that programs in user
// space cannot write.
type end struct {
	_          [4]uint64 // pointers
	_          [8]uint64 // positions
	CorruptWhy uint32
	ToProducer uint32
	Counters   abi.RingCounters
}

// slotState is struct kshm_slot, inputState struct kshm_input.
type slotState struct {
	State, Again uint32
	Ring         end
	_            [3]uint64
	_            [2]uint32
	Nested       uint64
	_            [8]uint64
}

type inputState struct {
	State, Length uint32
	Ring          end
	_             [2]uint64
	_             [8]uint64
}

// counters adds up what the kernel's ends of the rings have counted.
func (s *session) counters() (toKernel, toUser ring.Counters, err error) {
	var slot slotState
	for _, o := range s.g.outputs {
		if err := s.in.Maps[slotsMap].Lookup(uint32(o.slot), &slot); err != nil {
			return toKernel, toUser, err
		}
		add(&toUser, &slot.Ring.Counters)
		toUser.Drops += slot.Nested
	}
	var input inputState
	for i := range s.g.inputs {
		if err := s.in.Maps[inputsMap].Lookup(uint32(i), &input); err != nil {
			return toKernel, toUser, err
		}
		add(&toKernel, &input.Ring.Counters)
	}
	return toKernel, toUser, nil
}

func add(sum *ring.Counters, c *abi.RingCounters) {
	sum.Records += c.Records
	sum.Bytes += c.Bytes
	sum.Drops += c.Drops
	sum.Wakes += c.Wakes
	sum.Suppressed += c.Suppressed
	sum.Sleeps += c.Sleeps
	sum.Spurious += c.Spurious
	sum.HighWater = max(sum.HighWater, c.High_water)
	sum.Stall = max(sum.Stall, time.Duration(c.Stall_ns))
}

// wrongSize names a map whose values are not as here: the object was compiled
// with another version of kshm.bpf.h.
func wrongSize(spec *ebpf.CollectionSpec) (name string, wrong bool) {
	for name, size := range map[string]uint32{stateMap: stateSize, slotsMap: slotSize, inputsMap: inputSize} {
		if spec.Maps[name].ValueSize != size {
			return name, true
		}
	}
	return "", false
}
