// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/loop"
	"kshm/kshmtest"
)

func openLoop(t testing.TB, o *bpf.Options) *kshm.Device {
	t.Helper()
	spec, err := loop.Load()
	if err != nil {
		t.Fatal(err)
	}
	dev, err := bpf.Open(spec, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// The clauses of the contract that do not depend on how memory is pinned: see
// docs/bpf.md for the others.
func TestConformance(t *testing.T) {
	needBPF(t)
	kshmtest.Conformance(t, func(t testing.TB) *kshmtest.Backend {
		return &kshmtest.Backend{
			Device: openLoop(t, &bpf.Options{Name: "loop", MinLength: 16, ArenaSize: 2 << 30}),
			Ask:    func(mem []byte, n uint64) { binary.NativeEndian.PutUint64(mem, n) },
			Answered: func(mem []byte, n uint64) error {
				if got := binary.NativeEndian.Uint64(mem[8:]); got != ^n {
					return fmt.Errorf("the answer is %#x, want %#x", got, ^n)
				}
				return nil
			},
			Foreign: func(t testing.TB) []byte {
				anonymous, err := foreignMemory(t)
				if err != nil {
					t.Fatal(err)
				}
				return anonymous
			},
			Children: true,
		}
	})
}

// foreignMemory is memory that is not of an arena.
func foreignMemory(t testing.TB) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, 16<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err == nil {
		t.Cleanup(func() { unix.Munmap(mem) })
	}
	return mem, err
}
