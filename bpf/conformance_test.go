// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/live"
	"kshm/bpf/loop"
	"kshm/kshmtest"
)

// The clauses of the contract that exist with eBPF as the kernel side; see
// docs/bpf.md for those that do not.
func TestConformance(t *testing.T) {
	needBPF(t)
	kshmtest.Conformance(t, func(t testing.TB) *kshmtest.Backend {
		var latest *ebpf.Program
		b := backend(t, loop.Load, bpf.Options{Name: "loop", MinLength: 16, ArenaSize: 2 << 30, Attach: func(c *ebpf.Collection) (_ []link.Link, err error) {
			latest.Close()
			latest, err = c.Programs["loop_revoke"].Clone() // the share closes its own
			return nil, err
		}})
		t.Cleanup(func() { latest.Close() })
		b.Revoke = func(*kshm.Share) error {
			_, err := latest.Run(&ebpf.RunOptions{})
			return err
		}
		return b
	})
}

// The same for a driver that looks by itself.
func TestConformancePoller(t *testing.T) {
	needBPF(t)
	kshmtest.Conformance(t, func(t testing.TB) *kshmtest.Backend {
		b := backend(t, live.LoadPoll, bpf.Options{Name: "poll", MinLength: 16, ArenaSize: 2 << 30, Attach: func(c *ebpf.Collection) ([]link.Link, error) {
			_, err := c.Programs["poll_start"].Run(&ebpf.RunOptions{})
			return nil, err
		}})
		b.Polls = true
		return b
	})
}

// backend is a driver whose first word asks and whose second one answers.
func backend(t testing.TB, load func() (*ebpf.CollectionSpec, error), o bpf.Options) *kshmtest.Backend {
	t.Helper()
	return &kshmtest.Backend{
		Device: openObject(t, load, &o),
		Ask:    func(mem []byte, n uint64) { word(mem, 0).Store(n) },
		Answered: func(mem []byte, n uint64) error {
			if got := word(mem, 8).Load(); got != ^n {
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
}

func word(mem []byte, at int) *atomic.Uint64 {
	w, err := kshm.View[atomic.Uint64](mem, at)
	if err != nil {
		panic(err)
	}
	return w
}

func openLoop(t testing.TB, o *bpf.Options) *kshm.Device {
	t.Helper()
	return openObject(t, loop.Load, o)
}

func openObject(t testing.TB, load func() (*ebpf.CollectionSpec, error), o *bpf.Options) *kshm.Device {
	t.Helper()
	spec, err := load()
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

// foreignMemory is memory that is not of an arena.
func foreignMemory(t testing.TB) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, 16<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err == nil {
		t.Cleanup(func() { unix.Munmap(mem) })
	}
	return mem, err
}
