// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"kshm"
	"kshm/internal/abi"
	"kshm/internal/sys"
	"kshm/kshmtest"
)

func open(t testing.TB, name string, o ...kshm.Option) *kshm.Device {
	t.Helper()
	dev, err := kshm.Open(name, o...)
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

func share(t testing.TB, dev *kshm.Device, size int, o *kshm.ShareOptions) (*kshm.Share, *kshm.Buffer) {
	t.Helper()
	buf, err := dev.Alloc(size, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(buf, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := buf.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, buf
}

func mustBe(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// The clauses that every backend keeps.
func TestConformance(t *testing.T) {
	kshmtest.Conformance(t, func(t testing.TB) *kshmtest.Backend {
		dev, err := kshm.Open("digest")
		if err != nil {
			t.Fatal(err)
		}
		b := kshmtest.DigestBackend(dev)
		b.Children = true
		return b
	})
}

// The status is reachable below the sentinel.
func TestStatus(t *testing.T) {
	_, err := kshm.Open("nobody")
	mustBe(t, "open", err, kshm.ErrNotExist)
	mustBe(t, "open", err, windows.STATUS_OBJECT_NAME_NOT_FOUND)
	_, err = kshm.Open("mydriver")
	mustBe(t, "a kit's name", err, kshm.ErrNotExist)
	_, err = kshm.Open(`\\.\mydriver`)
	mustBe(t, "not a kit's driver", err, kshm.ErrABI)
	mustBe(t, "not a kit's driver", err, windows.STATUS_INVALID_DEVICE_REQUEST)
	_, err = open(t, "digest").Control(t.Context(), kshm.CTLCode(kshm.FileDeviceUnknown, 0x900, 0, 0), nil, nil)
	mustBe(t, "no such code", err, kshm.ErrNotSupported)
}

// A word that breaks the driver's protocol ends the share, with its place.
func TestCorrupt(t *testing.T) {
	s, buf := share(t, open(t, "digest"), 16<<10, nil)
	length, err := kshm.View[uint32](buf.Bytes(), 8)
	if err != nil {
		t.Fatal(err)
	}
	request, err := kshm.View[uint64](buf.Bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	atomic.StoreUint32(length, 1<<31)
	atomic.StoreUint64(request, 1)
	if err := s.Kick(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Fatal("the share lives on")
	}
	mustBe(t, "the share's end", s.Err(), kshm.ErrCorrupt)
	if st, err := s.Stats(); err != nil || st.Reason != kshm.EndCorrupt || st.CorruptOffset != 8 || st.CorruptWhy != 1 {
		t.Errorf("stats %+v, %v", st, err)
	}
}

// A driver's warning is an answer: the bytes that fitted. Whether its packet
// comes or not, no later request is taken for it.
func TestWarning(t *testing.T) {
	d, err := sys.OpenDevice(`\\.\MountPointManager`)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	queryPoints := uint32(kshm.CTLCode('m', 2, kshm.MethodBuffered, kshm.FileAnyAccess))
	for range 100 {
		in, out := make([]byte, 24), make([]byte, 32) // all points; room for none of their names
		n, err := d.Control(t.Context(), queryPoints, in, out)
		if err != nil {
			t.Fatal(err)
		}
		if size := binary.LittleEndian.Uint32(out); n < 4 || int(size) <= len(out) {
			t.Fatalf("%d bytes of an answer of %d: no warning", n, size)
		}
	}
	share(t, open(t, "digest"), 16<<10, nil)
}

func TestWaitIsCancelledAlone(t *testing.T) {
	s, _ := share(t, open(t, "digest"), 16<<10, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Wait(ctx, 0)
	mustBe(t, "wait", err, context.Canceled)
	if err := s.Err(); err != nil {
		t.Fatal("the share has ended with a waiter's context:", err)
	}
}

// rawShare is a share without the pump that package kshm runs.
func rawShare(t testing.TB, d *sys.Device) (*sys.Share, []byte) {
	t.Helper()
	mem, err := sys.Alloc(16<<10, false)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Share(mem, &abi.ShareArgs{Access: abi.AccessRead | abi.AccessWrite})
	if err != nil {
		t.Fatal(err)
	}
	return s, mem
}

func rawDevice(t testing.TB) *sys.Device {
	t.Helper()
	d, err := sys.OpenDevice(`\\.\kshm_digest`)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// end releases what an ended share held.
func end(t testing.TB, s *sys.Share, mem []byte) {
	t.Helper()
	if err := errors.Join(s.Close(), sys.Free(mem)); err != nil {
		t.Fatal(err)
	}
}

func TestCancelIoEx(t *testing.T) {
	s, mem := rawShare(t, rawDevice(t))
	s.Cancel()
	reason, err := s.Done()
	if err != nil || reason != abi.EndCancelled {
		t.Fatalf("ended with %v, %v", kshm.Reason(reason), err)
	}
	var stats abi.Stats
	if err := s.Stats(&stats); err != nil || stats.Reason != abi.EndCancelled || stats.Pinned != 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	end(t, s, mem)
}

// DONE and CancelIoEx race, with a waiter: every request ends exactly once. A
// second completion would be a packet of no request, at which the port panics.
func TestDoneCancelRaces(t *testing.T) {
	d := rawDevice(t)
	var count [abi.EndCancelled + 1]int
	for i := range 1000 {
		s, mem := rawShare(t, d)
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := s.NextEvents(); err == nil {
				t.Errorf("%d events, expected none", n)
			}
		})
		done := make(chan uint32, 1)
		say := func() {
			reason, err := s.Done()
			if err != nil {
				t.Error(err)
			}
			done <- reason
		}
		// Either gets to be the one whose thread has to be woken first, and a
		// head start of any length.
		first, second := say, s.Cancel
		if i%2 == 0 {
			first, second = second, first
		}
		wg.Go(second)
		for range rand.IntN(200) {
			runtime.Gosched()
		}
		first()
		wg.Wait()
		reason := <-done
		if reason != abi.EndDone && reason != abi.EndCancelled {
			t.Fatalf("ended with %v", kshm.Reason(reason))
		}
		count[reason]++
		end(t, s, mem)
	}
	if count[abi.EndDone] == 0 || count[abi.EndCancelled] == 0 {
		t.Errorf("no race: %v", count)
	}
	t.Logf("%d ended by DONE, %d cancelled", count[abi.EndDone], count[abi.EndCancelled])
}

func TestUnloadWithoutShares(t *testing.T) {
	dev, err := kshm.Open("digest")
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if err := digest.stop(); err != nil {
		t.Fatal(err)
	}
	_, err = kshm.Open("digest")
	mustBe(t, "open while unloaded", err, kshm.ErrNotExist)
	if err := digest.start(); err != nil {
		t.Fatal(err)
	}
	share(t, open(t, "digest"), 16<<10, nil)
}

// STOP ends live shares, of which the programs hear, and lets nobody in.
func TestStopWithLiveShares(t *testing.T) {
	dev, err := kshm.Open("digest")
	if err != nil {
		t.Fatal(err)
	}
	buf, err := dev.Alloc(16<<10, nil)
	if err != nil {
		t.Fatal(err)
	}
	var shares []*kshm.Share
	for range 3 {
		s, err := dev.Share(buf, nil)
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, s)
	}
	if err := sys.EnablePrivilege(loadDriver); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Control(t.Context(), kshm.ControlCode(abi.CtlStop), nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range shares {
		select {
		case <-s.Done():
		case <-time.After(time.Minute):
			t.Fatal("a share outlives STOP")
		}
		mustBe(t, "the share's end", s.Err(), kshm.ErrGone)
		if st, err := s.Stats(); err != nil || st.Reason != kshm.EndGone || st.Pinned != 0 {
			t.Errorf("stats %+v, %v", st, err)
		}
	}
	_, err = dev.Share(buf, nil)
	mustBe(t, "share after STOP", err, kshm.ErrGone)
	if !opensRefused {
		_, err = kshm.Open("digest")
		mustBe(t, "open after STOP", err, kshm.ErrGone)
	}
	if err := errors.Join(dev.Close(), buf.Close()); err != nil {
		t.Fatal(err)
	}
	digest.reload(t)
	share(t, open(t, "digest"), 16<<10, nil)
}
