// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"kshm"
	"kshm/bpf/live"
)

// A program that returns with a slot does not hold up the end for ever, which
// names it; and where the kernel refuses to wait for hooks, another way is
// found.
func TestHeldSlot(t *testing.T) {
	defer func(p time.Duration, wait func() error) { patience, waitGrace = p, wait }(patience, waitGrace)
	patience = 100 * time.Millisecond
	waitGrace = func() error { return fmt.Errorf("membarrier: %w", syscall.EINVAL) }
	spec, err := live.LoadHold()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := open(spec, Options{})
	if err != nil {
		needRights(t, err)
	}
	defer tr.Close()
	mem, free, err := tr.Alloc(4096, kshm.AllocOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	s, err := tr.Share(mem, kshm.ShareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := s.(*session).in
	if err := in.gracePeriod(tr.spec); err != nil {
		t.Error(err)
	}
	if err := run(in.Programs["hold_take"], nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.End() }()
	select {
	case err := <-done:
		if held, ok := errors.AsType[*HeldError](err); !ok || held.What == "" {
			t.Errorf("the end says: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the share does not end")
	}
}
