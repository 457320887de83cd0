// SPDX-License-Identifier: MIT

package main

import "time"

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
)

// What the modules in a kernel depend on.
var kernelInputs = []string{
	"driver/include", "driver/linux", "driver/samples", "driver/test/linux",
	"internal/abi", "internal/vm", "internal/deps", "internal/cmd/vmrun", "Makefile",
}

var parts = []part{
	{Name: "nt-shim", Limit: time.Hour, Command: with + "cc -- " + test + "./driver/test/nt -full", Inputs: []string{"driver"}},
	{Name: "ring-rounds", Limit: time.Hour, Command: with + "cc -- " + test + "./ring -rounds 5000000 -storms 30000 -seeded", Inputs: []string{"ring", "driver/include", "internal/abi"}},
	{Name: "proof", Limit: time.Hour, Command: with + "cc spin herd cbmc -- go run ./proof -full", Inputs: []string{"proof", "driver/include", "driver/test/ring"}},
	{Name: "race", Limit: time.Hour, Command: with + "cc -- go test -v -race -count=5 -timeout 60m ./..."},
	{Name: "vm", Kernel: "6.1, 6.12", Limit: time.Hour, Command: "KSHM_VM=1 " + test + "./internal/vm", Inputs: []string{"internal/vm", "internal/deps"}},
	{Name: "fuzz", Limit: time.Hour, Command: "make --no-print-directory fuzz FUZZTIME=5m"},
}
