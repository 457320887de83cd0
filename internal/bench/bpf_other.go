// SPDX-License-Identifier: MIT

//go:build linux && !amd64

package bench

import (
	"context"
	"fmt"

	"kshm"
)

// BPF is the name of the machine whose kernel side is eBPF.
const BPF = "bpf"

// RunBPF needs objects that are compiled for this processor.
func RunBPF(context.Context, Options) (*Report, error) {
	return nil, fmt.Errorf("%w: the eBPF objects of the benchmarks are for amd64", kshm.ErrNotSupported)
}
