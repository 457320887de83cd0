// SPDX-License-Identifier: MIT

//go:build linux && amd64

package rival

import (
	"github.com/cilium/ebpf"

	"kshm/bpf/live"
)

// Load returns the object that makes records of size bytes, and wakes the
// reader of the ring buffer once for wake records; 0: as the kernel decides.
func Load(size, wake int) (*ebpf.CollectionSpec, error) {
	spec, err := loadRival()
	if err != nil {
		return nil, err
	}
	if err := live.Mine(spec); err != nil {
		return nil, err
	}
	if err := spec.Variables["rival_size"].Set(uint32(size)); err != nil {
		return nil, err
	}
	return spec, spec.Variables["rival_wake"].Set(uint32(wake))
}
