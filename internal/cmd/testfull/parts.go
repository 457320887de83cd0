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
	sources
}

const (
	with = "go run ./internal/cmd/deps with "
	test = "go test -count=1 -v -timeout 60m "
	mk   = "make --no-print-directory "
)

var parts = slices.Concat(anywhere, build("debug-uml-7.2", "uml-7.2", "debug-6.12", "kcsan-6.12"), kernels, storms("6.12", 10, 1_000_000, 1000), storms("debug-uml-7.2", 5, 200_000, 400), storms("debug-6.12", 1, 50_000, 100))

// fuzzSeconds are divided among all fuzzers; the rest of the hour is for
// building them.
const fuzzSeconds = 45 * 60

// anywhere are the parts that need no kernel of their own.
var anywhere = []part{
	{"nt-shim", "", time.Hour, with + "cc -- " + test + "./driver/test/nt -full", sources{[]string{"./driver/test/nt"}, []string{".", "driver"}}.and(tools)},
	{"ring-rounds", "", time.Hour, with + "cc -- " + test + "./ring -rounds 5000000 -storms 30000 -seeded", ringTests},
	{"proof", "", time.Hour, with + "cc spin herd cbmc -- go run ./proof -full", sources{[]string{"./proof"}, []string{"proof"}}.and(ringTests)},
	{"race", "", time.Hour, with + "cc -- go test -v -race -count=5 -timeout 60m ./...", sources{}},
	{"vm", "6.1, 6.12", time.Hour, "KSHM_VM=\"6.1 6.12\" " + test + "./internal/vm", sources{[]string{"./internal/vm"}, []string{"."}}.and(tools)},
	{"analyze", "", time.Hour, mk + "analyze", sources{[]string{"./internal/cmd/analyze"}, []string{"internal/cmd/analyze"}}.and(kernelTests)},
	{"bpf/1", "", time.Hour, test + "-run '^Test(LiveHooks|NMI)$' ./bpf -live 100000000 -nested 1000000", bpfTests},
	{"bpf/2", "", time.Hour, test + "-run '^TestKill$' ./bpf -kills 500", bpfTests},
	{"bpf/3", "", time.Hour, test + "-run '^TestKill$' ./bpf -kills 500 # again", bpfTests},
	{"bpf-tests", "this one, 6.1", time.Hour, test + "./bpf && " + mk + "test-bpf", bpfTests},
	{"windows", "Wine", time.Hour, mk + "test-windows VERBOSE=-v", sources{}},
	{"fuzz", "", time.Hour, fmt.Sprintf("%sfuzz VERBOSE=-v FUZZSECONDS=%d", mk, fuzzSeconds), sources{}},
}

// build are the kernels that nobody has built. They come before what needs them,
// which would build them too, but then in its own hour.
func build(names ...string) (list []part) {
	for _, name := range names {
		list = append(list, part{
			Name: "build-" + name, Kernel: name, Limit: time.Hour, sources: sources{Inputs: []string{"."}}.and(tools),
			Command: fmt.Sprintf("go run ./internal/cmd/deps kernel %s && echo testfull: operations=1", name),
		})
	}
	return list
}

// kernels are the tests of the modules, on each kernel that there is.
var kernels = []part{
	{"kernel-6.1", "6.1", time.Hour, mk + "test-kernel-6.1", kernelTests},
	{"kernel-6.12", "6.12", time.Hour, mk + "test-kernel-6.12", kernelTests},
	{"kernel-6.1-rt", "6.1-rt", time.Hour, mk + "test-kernel-6.1-rt", kernelTests},
	{"kernel-6.12-trixie", "6.12-trixie", time.Hour, mk + "test-kernel-6.12-trixie", kernelTests},
	{"kernel-7.2", "7.2", time.Hour, mk + "test-kernel-7.2", kernelTests},
	{"kernel-6.1-arm64", "6.1-arm64", time.Hour, mk + "test-kernel-6.1-arm64", kernelTests},
	{"386", "6.1", time.Hour, mk + "test-386", kernelTests},
	{"alarms-debug-uml-7.2", "debug-uml-7.2", time.Hour, mk + "alarms-debug-uml-7.2", kernelTests},
	{"alarms-debug-6.12", "debug-6.12", time.Hour, mk + "alarms-debug-6.12", kernelTests},
	{"alarms-kcsan-6.12", "kcsan-6.12", time.Hour, mk + "alarms-kcsan-6.12", kernelTests},
	{"debug-uml-7.2", "debug-uml-7.2", time.Hour, mk + "rows-debug-uml-7.2", kernelTests},
	{"debug-6.12", "debug-6.12", time.Hour, mk + "rows-debug-6.12", kernelTests},
	{"kcsan-6.12", "kcsan-6.12", time.Hour, mk + "rows-kcsan-6.12", kernelTests},
	{"faults", "debug-6.12", time.Hour, mk + "test-faults", kernelTests},
	{"uml", "uml-7.2", time.Hour, mk + "test-uml", sources{[]string{"./internal/bench"}, []string{"internal/bench", "bpf"}}.and(kernelTests)},
	{"calls", "6.12", time.Hour, mk + "test-calls", kernelTests},
	{"share-cost", "6.12", 30 * time.Minute, mk + "test-share-cost", sources{[]string{"./internal/bench/sharecost"}, []string{"internal/bench/sharecost"}}.and(kernelTests)},
	{"shrinker", "6.12", time.Hour, mk + "test-shrinker", kernelTests},
}

// storms is a long storm in pieces with seeds of their own, so that none of
// them takes long; the table adds them up. The clock of a machine whose host is
// busy may run fast, so the machine's own limit is no limit.
func storms(kernel string, pieces, operations, kills int) (list []part) {
	for n := 1; n <= pieces; n++ {
		list = append(list, part{
			Name: fmt.Sprintf("storm-%s/%d", kernel, n), Kernel: kernel, Limit: time.Hour, sources: kernelTests,
			Command: fmt.Sprintf("%sstorm KERNEL=%s STORM='-seed %d -ops %d -kills %d -for 3h'", mk, kernel, n, operations, kills),
		})
	}
	return list
}
