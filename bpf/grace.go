// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"kshm/internal/sys"
)

// graceMap is a map that holds maps: when one of them is replaced, the kernel
// waits until no program uses it. Objects that are handed over have one.
const graceMap = "kshm_grace"

func newGraceMap(spec *ebpf.CollectionSpec) (*ebpf.Map, error) {
	return ebpf.NewMap(&ebpf.MapSpec{Name: graceMap, Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: spec.Maps[inputsMap]})
}

// waitGrace is the direct way, which tests can close.
var waitGrace = sys.GracePeriod

// gracePeriod returns when all programs have that hooks had started before. A
// kernel with processors that it leaves alone (nohz_full) refuses to wait for
// them by itself, and an update of the map waits as well.
func (in *instance) gracePeriod(spec *ebpf.CollectionSpec) error {
	direct := waitGrace()
	if direct == nil {
		return nil
	}
	m := in.Maps[graceMap]
	if m == nil && spec != nil {
		var err error
		if m, err = newGraceMap(spec); err != nil {
			return errors.Join(direct, err)
		}
		defer m.Close()
	}
	if m == nil {
		return direct
	}
	if err := m.Put(uint32(0), in.Maps[inputsMap]); err != nil {
		return fmt.Errorf("grace period: %w, %w", direct, err)
	}
	return nil
}
