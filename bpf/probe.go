// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"kshm"
)

// capabilities that loading an object takes, by number.
var capabilities = []struct {
	name string
	bit  uint
}{{"CAP_PERFMON", 38}, {"CAP_BPF", 39}}

const allCapabilities = 21 // CAP_SYS_ADMIN stands for both

// probe says what it means that there can be no arena.
func probe(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, kshm.ErrNotSupported) {
		return &kshm.OpError{Err: fmt.Errorf("%w: this kernel, %s, has no BPF arena", kshm.ErrNotSupported, release()),
			Remedy: "use Linux 6.9 or later, or kshm's kernel module"}
	}
	return rights(err)
}

// rights says which capability a refusal asks for.
func rights(err error) error {
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	return &kshm.OpError{Err: fmt.Errorf("%w: this process lacks %s, which loading eBPF programs takes", kshm.ErrPermission, missingCapabilities()),
		Remedy: "run as root, or be handed a loaded object: see bpf.Receive"}
}

func missingCapabilities() string {
	held, err := effective()
	if err != nil || held>>allCapabilities&1 != 0 {
		return "a right" // a security module has refused it
	}
	var names []string
	for _, c := range capabilities {
		if held>>c.bit&1 == 0 {
			names = append(names, c.name)
		}
	}
	if len(names) == 0 {
		return "a right"
	}
	return strings.Join(names, " and ")
}

// effective is the process's set of effective capabilities.
func effective() (uint64, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if hex, ok := strings.CutPrefix(s.Text(), "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, errors.New("no CapEff in /proc/self/status")
}

func release() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "Linux"
	}
	return strings.TrimSpace(string(text))
}

// openError is err as an error of Open.
func openError(name string, err error) error {
	if name == "" {
		name = "bpf"
	}
	e := &kshm.OpError{Op: "open", Device: name, Err: err}
	if inner, ok := errors.AsType[*kshm.OpError](err); ok {
		e.Err, e.Remedy = inner.Err, inner.Remedy
	}
	return e
}
