// SPDX-License-Identifier: MIT

package vm

import (
	"context"
	"fmt"
	"io"

	"kshm/internal/deps"
)

// BuiltNames lists the kernels that package deps builds from source.
func BuiltNames() (names []string) {
	for _, k := range deps.BuiltKernels() {
		names = append(names, k.Name)
	}
	return names
}

// fetchBuilt returns a kernel that is built from source, building it if
// necessary.
func fetchBuilt(ctx context.Context, w io.Writer, b deps.BuiltKernel) (Kernel, error) {
	dir, err := deps.EnsureKernel(ctx, w, b, "")
	if err != nil {
		return Kernel{}, err
	}
	release, err := b.Release(dir)
	if err != nil {
		return Kernel{}, fmt.Errorf("vm: %s: %w", b.Name, err)
	}
	return Kernel{Name: b.Name, Image: b.Image(dir), Release: release, Arch: "amd64", UML: b.Arch == "um", Debug: b.Debug}, nil
}
