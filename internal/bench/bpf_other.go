// SPDX-License-Identifier: MIT

//go:build linux && !amd64

package bench

import (
	"context"
	"fmt"

	"kshm"
)

// RunBPF needs objects that are compiled for this processor.
func RunBPF(context.Context, Options) (*Report, error) {
	return nil, fmt.Errorf("%w: the eBPF objects of the benchmarks are for amd64", kshm.ErrNotSupported)
}
