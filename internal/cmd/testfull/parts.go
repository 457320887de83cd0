// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"slices"
	"time"
)

// A part is a piece of the long tests that runs alone.
type part struct {
	Name    string        // unique; parts called NAME/1, NAME/2 ... are one thing in pieces
	Kernel  string        // that it runs on; "" for this machine's
	Limit   time.Duration // after which it is killed: an hour at most
	Command string        // for the shell, in the root of the repository
	Inputs  []string      // files and folders that it depends on; none: all but documents
}

const (
	with = "go run ./internal/cmd/deps with "
	test = "go test -count=1 -v -timeout 60m "
	mk   = "make --no-print-directory "
)

// What the modules in a kernel depend on.
var kernelInputs = []string{
	"driver/include", "driver/linux", "driver/samples", "driver/test/linux",
	"internal/abi", "internal/vm", "internal/deps", "internal/cmd/vmrun", "Makefile",
}

// What the eBPF tests depend on.
var bpfInputs = []string{"bpf", "driver/bpf", "driver/include", "driver/test/bpf", "driver/samples/loop/loop.bpf.c", "ring", "internal/sys"}

var parts = slices.Concat(anywhere, kernels, storms("6.12", 10, 1_000_000, 1000), storms("debug-6.12", 5, 200_000, 400))

// anywhere are the parts that need no kernel of their own.
var anywhere = []part{
	{Name: "nt-shim", Limit: time.Hour, Command: with + "cc -- " + test + "./driver/test/nt -full", Inputs: []string{"driver"}},
	{Name: "ring-rounds", Limit: time.Hour, Command: with + "cc -- " + test + "./ring -rounds 5000000 -storms 30000 -seeded", Inputs: []string{"ring", "driver/include", "internal/abi"}},
	{Name: "proof", Limit: time.Hour, Command: with + "cc spin herd cbmc -- go run ./proof -full", Inputs: []string{"proof", "driver/include", "driver/test/ring"}},
	{Name: "race", Limit: time.Hour, Command: with + "cc -- go test -v -race -count=5 -timeout 60m ./..."},
	{Name: "vm", Kernel: "6.1, 6.12", Limit: time.Hour, Command: "KSHM_VM=\"6.1 6.12\" " + test + "./internal/vm", Inputs: []string{"internal/vm", "internal/deps"}},
	{Name: "analyze", Limit: time.Hour, Command: mk + "analyze", Inputs: append([]string{"internal/cmd/analyze"}, kernelInputs...)},
	{Name: "bpf/1", Limit: time.Hour, Command: test + "-run '^Test(LiveHooks|NMI)$' ./bpf -live 100000000 -nested 1000000", Inputs: bpfInputs},
	{Name: "bpf/2", Limit: time.Hour, Command: test + "-run '^TestKill$' ./bpf -kills 500", Inputs: bpfInputs},
	{Name: "bpf/3", Limit: time.Hour, Command: test + "-run '^TestKill$' ./bpf -kills 500 # again", Inputs: bpfInputs},
	{Name: "fuzz", Limit: time.Hour, Command: mk + "fuzz FUZZTIME=10m"},
}

// kernels are the tests of the modules, on each kernel that make test leaves out.
var kernels = []part{
	{Name: "debug", Kernel: "debug-6.12", Limit: time.Hour, Command: mk + "test-debug", Inputs: kernelInputs},
	{Name: "kcsan", Kernel: "kcsan-6.12", Limit: time.Hour, Command: mk + "test-kcsan", Inputs: kernelInputs},
	{Name: "faults", Kernel: "debug-6.12", Limit: time.Hour, Command: mk + "test-faults", Inputs: kernelInputs},
	{Name: "kernel-6.1-rt", Kernel: "6.1-rt", Limit: time.Hour, Command: mk + "test-kernel-6.1-rt", Inputs: kernelInputs},
	{Name: "kernel-6.12-trixie", Kernel: "6.12-trixie", Limit: time.Hour, Command: mk + "test-kernel-6.12-trixie", Inputs: kernelInputs},
	{Name: "kernel-7.2", Kernel: "7.2", Limit: time.Hour, Command: mk + "test-kernel-7.2", Inputs: kernelInputs},
	{Name: "kernel-6.1-arm64", Kernel: "6.1-arm64", Limit: time.Hour, Command: mk + "test-kernel-6.1-arm64", Inputs: kernelInputs},
	{Name: "uml", Kernel: "uml-7.2", Limit: time.Hour, Command: mk + "test-uml", Inputs: kernelInputs},
	{Name: "calls", Kernel: "6.12", Limit: time.Hour, Command: mk + "test-calls", Inputs: kernelInputs},
	{Name: "share-cost", Kernel: "6.12", Limit: 30 * time.Minute, Command: mk + "test-share-cost", Inputs: append([]string{"internal/bench/sharecost"}, kernelInputs...)},
	{Name: "shrinker", Kernel: "6.12", Limit: time.Hour, Command: mk + "test-shrinker", Inputs: kernelInputs},
	{Name: "386", Kernel: "6.1", Limit: time.Hour, Command: mk + "test-386", Inputs: kernelInputs},
}

// storms is a long storm in pieces with seeds of their own, so that none of
// them takes long; the table adds them up. The clock of a machine whose host is
// busy may run fast, so the machine's own limit is no limit.
func storms(kernel string, pieces, operations, kills int) (list []part) {
	for n := 1; n <= pieces; n++ {
		list = append(list, part{
			Name: fmt.Sprintf("storm-%s/%d", kernel, n), Kernel: kernel, Limit: time.Hour, Inputs: kernelInputs,
			Command: fmt.Sprintf("%sstorm KERNEL=%s STORM='-seed %d -ops %d -kills %d -for 3h'", mk, kernel, n, operations, kills),
		})
	}
	return list
}
