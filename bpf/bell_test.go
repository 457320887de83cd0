// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"kshm"
	"kshm/bpf/loop"
	"kshm/ring"
)

// A doorbell that does not accept: it is counted, tried again, and the program
// hears of all events in the end.
func TestFullDoorbell(t *testing.T) {
	spec, err := loop.Load()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := open(spec, Options{})
	if err != nil {
		needRights(t, err)
	}
	defer tr.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var layout ring.Layout
	group, err := layout.Add(ring.ToUser, tr.cpus, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	mem, free, err := tr.Alloc(layout.Size(), kshm.AllocOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer free()
	g, err := geometryOf(layout.Groups(), len(mem), tr.cpus)
	if err != nil {
		t.Fatal(err)
	}
	in, err := tr.take()
	if err != nil {
		t.Fatal(err)
	}
	s, err := tr.begin(in, mem, g, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 1000 { // nobody looks at the doorbell: it fills up
		if err := s.Kick(); err != nil {
			t.Fatal(err)
		}
	}
	// Readers that sleep: a record asks for a doorbell, which is refused.
	arm := func(n uint64) {
		for i := range group.Count {
			word(mem, i*group.Stride()+512).Store(n)
		}
	}
	arm(1)
	produce := func() {
		if _, err := loop.Produce(in.Programs["loop_produce"], loop.Burst{Records: 1, Size: 8, Batch: 1}); err != nil {
			t.Fatal(err)
		}
	}
	before := in.state()
	produce()
	full := in.state()
	if before.Events != 1000 || before.Failures == 0 || full.Failures < before.Failures+2 {
		// Refused, and tried again on the way out.
		t.Errorf("before: %+v\nafter: %+v", before, full)
	}
	if err := s.bell.wait(); err != nil {
		t.Fatal(err)
	}
	produce() // now it is accepted, and the sleeper has been rung for
	accepted := in.state()
	produce()
	last := in.state()
	// One that is refused again, for a reader that wakes by itself meanwhile:
	// nobody is left to be rung for.
	for range 1000 {
		if err := s.Kick(); err != nil {
			t.Fatal(err)
		}
	}
	arm(3)
	produce()
	arm(4)
	produce()
	for _, o := range g.outputs {
		var slot slotState
		if err := in.Maps[slotsMap].Lookup(uint32(o.slot), &slot); err != nil {
			t.Fatal(err)
		}
		if slot.Again != 0 {
			t.Errorf("slot %d still tries to ring for a reader that is awake", o.slot)
		}
	}
	if accepted.Failures != full.Failures || accepted.Events != full.Events+1 || last.Events != accepted.Events {
		t.Errorf("full: %+v\nthen: %+v\nthen: %+v", full, accepted, last)
	}
	if err := s.bell.wait(); err != nil {
		t.Fatal(err)
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
}

// needRights skips where eBPF cannot be used, in one line.
func needRights(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") != "true" && (errors.Is(err, kshm.ErrPermission) || errors.Is(err, kshm.ErrNotSupported)) {
		t.Skip(err)
	}
	t.Fatal(err)
}
