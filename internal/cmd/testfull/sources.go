// SPDX-License-Identifier: MIT

package main

import "slices"

// sources are what a part depends on. Parts without any depend on all files but
// documents.
type sources struct {
	Packages []string // of Go, that the command builds, with their tests
	Inputs   []string // files and folders; "." stands for the files of the root
}

// and returns the sources of both.
func (s sources) and(more sources) sources {
	return sources{slices.Concat(s.Packages, more.Packages), slices.Concat(s.Inputs, more.Inputs)}
}

var (
	// tools make and start what is tested.
	tools = sources{
		Packages: []string{"./internal/cmd/deps", "./internal/cmd/vmrun"},
		Inputs:   []string{"internal/cmd/deps", "internal/cmd/vmrun", "internal/deps", "internal/vm"},
	}
	library = sources{
		Packages: []string{"."},
		Inputs:   []string{".", "ring", "kshmtest", "internal/abi", "internal/sys", "driver/include"},
	}
	kernelTests = sources{
		Packages: []string{"./driver/test/linux", "./driver/test/linux/storm", "./driver/test/linux/alarms"},
		Inputs:   []string{"driver/linux", "driver/samples", "driver/test/linux"},
	}.and(library).and(tools)
	bpfTests = sources{
		Packages: []string{"./bpf", "./bpf/loop", "./bpf/live", "./examples/bpf"},
		Inputs:   []string{"bpf", "driver/bpf", "driver/test/bpf", "driver/samples/loop", "examples/bpf"},
	}.and(library).and(tools)
	ringTests = sources{
		Packages: []string{"./ring"},
		Inputs:   []string{"driver/test/ring"},
	}.and(library).and(tools)
)
