// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kshm/internal/deps"
	"kshm/internal/vm"
)

// A Machine is a virtual one to measure in.
type Machine struct {
	Name   string // as rows have it
	Kernel string // of package vm
	About  string
	part   int // of the rounds: one in so many
}

// options are those for the machine: longer trials, since it takes time to
// begin one there, and fewer, with records of up to 64 KiB.
func (m Machine) options(o Options) Options {
	o.Rounds, o.Trial, o.urgent = max(o.Rounds/m.part, 3), 10*time.Millisecond, true
	if o.Sizes[len(o.Sizes)-1] < largest {
		o.Sizes = append(slices.Clone(o.Sizes), largest)
	}
	return o
}

// Machines lists them.
func Machines() []Machine {
	return []Machine{
		{"uml", "uml-7.2", "a kernel that runs as a program: memory at the machine's own speed, slow system calls, BPF interpreted", 3},
		{"qemu", "6.1", "a stock kernel in QEMU: every instruction translated where the host offers no acceleration", 8},
	}
}

// MachineNames lists where one can measure.
func MachineNames() []string {
	names := []string{Native, BPF}
	for _, m := range Machines() {
		names = append(names, m.Name)
	}
	return names
}

// On measures on the machine of that name. root is the repository.
func On(ctx context.Context, o Options, name, root string) (*Report, error) {
	switch name {
	case Native:
		return Run(ctx, o)
	case BPF:
		return RunBPF(ctx, o)
	}
	for _, m := range Machines() {
		if m.Name == name {
			return RunIn(ctx, m.options(o), m, root)
		}
	}
	return nil, fmt.Errorf("bench: no machine is called %q; there are %s", name, strings.Join(MachineNames(), ", "))
}

// the drivers of a guest, in the order in which they are loaded.
var drivers = []string{"driver/linux", "driver/samples/loop", "driver/test/linux/rival"}

// RunIn measures in a virtual machine. root is the repository.
func RunIn(ctx context.Context, o Options, m Machine, root string) (*Report, error) {
	dir, err := os.MkdirTemp("", "kshm-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	v, err := m.boot(ctx, o, root, dir)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	v.Stdout = &out
	res, err := vm.Run(ctx, v)
	if err != nil {
		return nil, err
	}
	if res.Exit != 0 {
		return nil, fmt.Errorf("bench: in %s: exit status %d", m.Name, res.Exit)
	}
	report := &Report{}
	if err := json.Unmarshal(out.Bytes(), report); err != nil {
		return nil, fmt.Errorf("bench: report of %s: %w", m.Name, err)
	}
	for i := range report.Runs {
		report.Runs[i].About = m.About
	}
	return report, nil
}

// boot builds what runs in the machine.
func (m Machine) boot(ctx context.Context, o Options, root, dir string) (v vm.Options, err error) {
	options, err := json.Marshal(o)
	if err != nil {
		return v, err
	}
	v = vm.Options{
		Args: []string{m.Name, string(options)}, Stderr: o.Log, Progress: o.Log, Urgent: o.urgent,
		// A signal costs as much as many records where system calls are slow.
		Env: []string{"GODEBUG=asyncpreemptoff=1", "GOGC=off"},
	}
	if v.Kernel, err = vm.Fetch(ctx, o.Log, m.Kernel); err != nil {
		return v, err
	}
	if v.Program, err = buildGuestProgram(ctx, root, dir); err != nil {
		return v, err
	}
	v.Modules, err = buildDrivers(ctx, m, root)
	return v, err
}

func buildGuestProgram(ctx context.Context, root, dir string) (string, error) {
	program := filepath.Join(dir, "benchguest")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./internal/cmd/benchguest")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("bench: build the guest's program: %w\n%s", err, out)
	}
	return program, nil
}

func buildDrivers(ctx context.Context, m Machine, root string) (modules []vm.Module, err error) {
	b := deps.Build{Out: filepath.Join(root, "build", m.Kernel)}
	for _, d := range drivers {
		b.Dirs = append(b.Dirs, filepath.Join(root, d))
	}
	if err := kernelOf(ctx, m, &b); err != nil {
		return nil, err
	}
	var log bytes.Buffer
	made, err := deps.BuildModules(ctx, &log, b)
	if err != nil {
		io.Copy(os.Stderr, &log)
		return nil, err
	}
	for _, path := range made {
		m := vm.Module{Path: path}
		if filepath.Base(path) == "kshm_loop.ko" {
			m.Params = "linger_us=500" // a few kicks
		}
		modules = append(modules, m)
	}
	return modules, nil
}

// kernelOf says what to build the machine's drivers against.
func kernelOf(ctx context.Context, m Machine, b *deps.Build) error {
	if c, ok := deps.Lookup("kernel-" + m.Kernel); ok {
		b.Kernel = c
		return nil
	}
	k, ok := deps.LookupKernel(m.Kernel)
	if !ok {
		return fmt.Errorf("bench: no kernel is called %s", m.Kernel)
	}
	dir, err := deps.EnsureKernel(ctx, io.Discard, k, "")
	b.Headers, b.Make = k.Headers(dir), k.Make()
	return err
}
