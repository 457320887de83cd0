// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"kshm"
	"kshm/bpf/loop"
)

// A refusal is the verifier's own, unless the kernel has no atomic operations
// on arenas: then the version that has them is named. No kernel has them on
// another map.
func TestAtomicOperations(t *testing.T) {
	spec, err := loop.Load()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := open(spec, Options{})
	if err != nil {
		needRights(t, err)
	}
	defer tr.Close()
	refused := &VerifierError{Program: "loop", Log: "why", Err: syscall.EACCES}
	if err := tr.notLoaded(refused); !errors.Is(err, error(refused)) || !tr.takes(asm.Xchg) {
		t.Errorf("a kernel that has them: %v", err)
	}
	array, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer array.Close()
	lacking := &transport{spec: tr.spec, arena: &arena{m: array, mem: tr.arena.mem}}
	err = openError("loop", lacking.notLoaded(refused))
	if !errors.Is(err, kshm.ErrNotSupported) || !strings.Contains(err.Error(), "Linux 6.10 or later") {
		t.Errorf("a kernel that lacks them: %v", err)
	}
	if err := lacking.notLoaded(syscall.EPERM); !errors.Is(err, kshm.ErrPermission) {
		t.Errorf("a program that may not load: %v", err)
	}
	t.Log(err)
}
