// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"errors"
	"fmt"

	"kshm"
	"kshm/internal/abi"
	"kshm/ring"
)

// geometry says which ring is whose.
type geometry struct {
	groups  []ring.Group
	outputs []output // by slot, those that the share opens
	inputs  []place
}

type place struct{ offset, capacity int }

// output is a slot with its ring, or without one.
type output struct {
	slot int
	place
}

// geometryOf checks a share's ring table as kernels do, and deals the rings
// out: a group ToUser is a nesting level, with one ring for each CPU.
func geometryOf(table []ring.Group, length, cpus int) (*geometry, error) {
	if len(table) > abi.RingGroups {
		return nil, fmt.Errorf("%w: %d ring groups, at most %d", kshm.ErrInvalid, len(table), abi.RingGroups)
	}
	g := &geometry{}
	level := 0
	for i, group := range table {
		if err := errors.Join(group.Validate(length), apart(g.groups, group)); err != nil {
			return nil, fmt.Errorf("%w: ring group %d: %w", kshm.ErrInvalid, i, err)
		}
		g.groups = append(g.groups, group)
		if group.Direction == ring.ToKernel {
			g.addInputs(group)
			continue
		}
		if level == levels {
			return nil, fmt.Errorf("%w: more than %d nesting levels", kshm.ErrInvalid, levels)
		}
		g.addLevel(group, level, cpus)
		level++
	}
	if len(g.inputs) > maxInputs {
		return nil, fmt.Errorf("%w: %d rings ToKernel, at most %d", kshm.ErrInvalid, len(g.inputs), maxInputs)
	}
	for ; level == 0 || len(g.groups) == 0 && level < levels; level++ {
		g.addLevel(ring.Group{}, level, cpus) // programs use the memory without rings
	}
	return g, nil
}

func apart(others []ring.Group, g ring.Group) error {
	for _, o := range others {
		if g.Offset < o.Offset+o.Size() && o.Offset < g.Offset+g.Size() {
			return errors.New("it overlaps another one")
		}
	}
	return nil
}

func (g *geometry) addInputs(group ring.Group) {
	for i := range group.Count {
		g.inputs = append(g.inputs, place{group.Offset + i*group.Stride(), group.Capacity})
	}
}

// addLevel opens one slot for each CPU. CPUs that have no ring drop.
func (g *geometry) addLevel(group ring.Group, level, cpus int) {
	for cpu := range cpus {
		o := output{slot: cpu*levels + level}
		if cpu < group.Count {
			o.place = place{group.Offset + cpu*group.Stride(), group.Capacity}
		}
		g.outputs = append(g.outputs, o)
	}
}
