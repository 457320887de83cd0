// SPDX-License-Identifier: MIT

//go:build linux && amd64

package sum

import "github.com/cilium/ebpf"

// Load returns the object.
func Load() (*ebpf.CollectionSpec, error) { return loadSum() }
