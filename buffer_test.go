// SPDX-License-Identifier: MIT

package kshm_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"kshm"
	"kshm/kshmtest"
)

func model(t testing.TB, kit *kshmtest.Kit) *kshm.Device {
	t.Helper()
	dev, err := kshmtest.Open(kit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

func TestAlloc(t *testing.T) {
	dev := model(t, &kshmtest.Kit{})
	for _, n := range []int{1, 4095, 4096, 4097, 1 << 20} {
		buf, err := dev.Alloc(n, nil)
		if err != nil {
			t.Fatal(err)
		}
		if buf.Len() != n || len(buf.Bytes()) != n || cap(buf.Bytes()) != n {
			t.Errorf("asked for %d: Len %d, Bytes %d (%d)", n, buf.Len(), len(buf.Bytes()), cap(buf.Bytes()))
		}
		for i, v := range buf.Bytes() {
			if v != 0 {
				t.Fatalf("byte %d is %#x", i, v)
			}
		}
		if _, err := kshm.Wrap(buf.Bytes()); err != nil {
			t.Errorf("not page aligned: %v", err)
		}
		if err := errors.Join(buf.Close(), buf.Close()); err != nil {
			t.Error(err)
		}
		if buf.Bytes() != nil || buf.Len() != 0 {
			t.Error("a closed buffer still has memory")
		}
	}
}

// TestWrapKeepsOut: closing a wrapper unmaps nothing, and its slice cannot
// grow into memory that was not offered.
func TestWrapKeepsOut(t *testing.T) {
	dev := model(t, &kshmtest.Kit{})
	owner, err := dev.Alloc(8192, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	part, err := kshm.Wrap(owner.Bytes()[:100])
	if err != nil {
		t.Fatal(err)
	}
	if grown := append(part.Bytes(), 1); &grown[0] == &owner.Bytes()[0] {
		t.Error("append to a wrapped buffer writes behind it")
	}
	if err := part.Close(); err != nil {
		t.Fatal(err)
	}
	owner.Bytes()[0] = 1 // faults if it was unmapped
}

// failingFree is a transport whose memory cannot be given back at first.
type failingFree struct {
	*fake
	failures int
}

func (f *failingFree) Alloc(size int, _ kshm.AllocOptions) ([]byte, func() error, error) {
	return make([]byte, size), func() error {
		if f.failures--; f.failures >= 0 {
			return errors.New("busy")
		}
		return nil
	}, nil
}

func TestBufferCloseFails(t *testing.T) {
	dev := kshm.NewDevice("fake", &failingFree{newFake(), 1})
	buf, err := dev.Alloc(10, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*kshm.OpError](buf.Close()); !ok {
		t.Error("the failure is lost")
	}
	if buf.Bytes() == nil {
		t.Error("a buffer that could not be freed has lost its memory")
	}
	if err := buf.Close(); err != nil {
		t.Errorf("second try: %v", err)
	}
}

// TestLeakedBuffers: a dropped buffer is counted, and its memory stays: a
// slice of it may be in use.
func TestLeakedBuffers(t *testing.T) {
	dev := model(t, &kshmtest.Kit{})
	closed, err := dev.Alloc(4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	closed = nil
	before := kshm.LeakedBuffers()
	leaked, err := dev.Alloc(4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	mem := leaked.Bytes()
	leaked = nil
	for end := time.Now().Add(time.Minute); kshm.LeakedBuffers() == before; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("not counted")
		}
		time.Sleep(time.Millisecond)
	}
	mem[0] = 1
	if n := kshm.LeakedBuffers() - before; n != 1 {
		t.Errorf("%d leaks counted, want 1", n)
	}
}
