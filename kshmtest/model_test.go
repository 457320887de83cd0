// SPDX-License-Identifier: MIT

package kshmtest

import (
	"context"
	"errors"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kshm"
)

func mustOpen(t testing.TB, d Driver) *kshm.Device {
	t.Helper()
	dev, err := Open(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func mustShare(t testing.TB, dev *kshm.Device, size int, o *kshm.ShareOptions) (*kshm.Share, *kshm.Buffer) {
	t.Helper()
	buf, err := dev.Alloc(size, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(buf, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); buf.Close() })
	return s, buf
}

// faults says whether an access ends in a fault of the memory.
func faults(access func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if err, ok := recover().(runtime.Error); ok && strings.Contains(err.Error(), "address") {
			faulted = true
		}
	}()
	access()
	return false
}

var sink byte // keeps a load from being optimised away

// kept is a Kit's share, handed to a test.
func kept() (*Kit, chan *Share) {
	shares := make(chan *Share, 16)
	return &Kit{Share: func(s *Share) Status { shares <- s; return StatusSuccess }}, shares
}

func TestSystemAddressIsTheProgramsMemory(t *testing.T) {
	kit, shares := kept()
	dev := mustOpen(t, kit)
	for _, size := range []int{1, 4095, 4096, 100_000} {
		_, buf := mustShare(t, dev, size, nil)
		base := (<-shares).Base
		if len(base) != size || cap(base) != size {
			t.Fatalf("%d bytes: the kernel sees %d (%d)", size, len(base), cap(base))
		}
		if &base[0] == &buf.Bytes()[0] {
			t.Fatal("one address for both sides: no second mapping")
		}
		last := size - 1
		buf.Bytes()[last] = 7
		if base[last] != 7 {
			t.Error("the kernel does not see the program's store")
		}
		base[0] = 9
		if buf.Bytes()[0] != 9 {
			t.Error("the program does not see the kernel's store")
		}
	}
}

func TestLateAccessFaults(t *testing.T) {
	kit, shares := kept()
	s, buf := mustShare(t, mustOpen(t, kit), 8192, nil)
	base := (<-shares).Base
	use := func() { base[4096]++ }
	if faults(use) {
		t.Fatal("the address faults while the share lives")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !faults(use) {
		t.Error("a driver can still write after the share")
	}
	if !faults(func() { sink = base[0] }) {
		t.Error("a driver can still read after the share")
	}
	if buf.Bytes()[4096] != 1 {
		t.Errorf("the program's byte is %d", buf.Bytes()[4096])
	}
}

func TestReadOnlyFaults(t *testing.T) {
	kit, shares := kept()
	_, buf := mustShare(t, mustOpen(t, kit), 4096, &kshm.ShareOptions{ReadOnly: true})
	buf.Bytes()[5] = 1
	base := (<-shares).Base
	if base[5] != 1 {
		t.Error("a read-only share does not show the program's store")
	}
	if !faults(func() { base[5] = 2 }) {
		t.Error("the kernel can write to a read-only share")
	}
}

func TestForeignMemory(t *testing.T) {
	dev := mustOpen(t, &Kit{})
	buf, err := kshm.Wrap(goHeap(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = dev.Share(buf, nil)
	if op, ok := errors.AsType[*kshm.OpError](err); !errors.Is(err, kshm.ErrMemory) || !ok || op.Remedy == "" {
		t.Errorf("foreign memory: %v; want ErrMemory with a remedy", err)
	}
	if _, err := dev.Alloc(1, &kshm.AllocOptions{HugePages: true}); !errors.Is(err, kshm.ErrNotSupported) {
		t.Errorf("huge pages: %v", err)
	}
}

// TestFreedWhileLocked: the pages stay the driver's when the program unmaps
// memory that it had wrapped.
func TestFreedWhileLocked(t *testing.T) {
	kit, shares := kept()
	dev := mustOpen(t, kit)
	buf, _ := dev.Alloc(4096, nil)
	wrapped, err := kshm.Wrap(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(wrapped, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := buf.Close(); err != nil {
		t.Fatal(err)
	}
	base := (<-shares).Base
	if faults(func() { base[0]++ }) {
		t.Error("the program's munmap took locked pages away")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// recorder notes the order of its calls.
type recorder struct {
	bare
	mu   sync.Mutex
	said []string
}

func (r *recorder) say(s string) {
	r.mu.Lock()
	r.said = append(r.said, s)
	r.mu.Unlock()
}

func (r *recorder) DriverCreate(*File) Status { r.say("CREATE"); return StatusSuccess }
func (r *recorder) DriverCleanup(*File)       { r.say("CLEANUP") }
func (r *recorder) DriverClose(*File)         { r.say("CLOSE") }
func (r *recorder) DriverExit(f *File)        { r.say("EXIT"); r.bare.DriverExit(f) }
func (r *recorder) DriverControl(irp *IRP) Status {
	r.say("CONTROL")
	return r.bare.DriverControl(irp)
}

func TestDispatchOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(dev *kshm.Device, exit func())
		want []string
	}{
		{"close", func(dev *kshm.Device, _ func()) { dev.Close() }, []string{"CREATE", "CONTROL", "CONTROL", "CLEANUP", "CLOSE"}},
		{"exit", func(_ *kshm.Device, exit func()) { exit() }, []string{"CREATE", "CONTROL", "EXIT", "CLEANUP", "CLOSE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{bare: bare{shares: make(map[uint64]bareShare)}}
				ctx, exit := context.WithCancel(t.Context())
				dev, err := NewDevice(r, nil).Open(ctx)
				if err != nil {
					t.Fatal(err)
				}
				mustShare(t, dev, 4096, nil)
				c.end(dev, exit)
				synctest.Wait()
				if !reflect.DeepEqual(r.said, c.want) {
					t.Errorf("%q, want %q", r.said, c.want)
				}
				exit()
			})
		})
	}
}

// refusing refuses to be opened.
type refusing struct{ bare }

func (*refusing) DriverCreate(*File) Status { return StatusAccessDenied }

func TestCreateRefused(t *testing.T) {
	_, err := Open(&refusing{})
	status, ok := errors.AsType[Status](err)
	if !errors.Is(err, kshm.ErrPermission) || !ok || status != StatusAccessDenied {
		t.Errorf("%v; want ErrPermission with the status inside", err)
	}
}

// TestHundredWaitersInABubble shows that the model blocks only where synctest
// sees it: with the driver idle, time passes at once.
func TestHundredWaitersInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, shares := kept()
		s, _ := mustShare(t, mustOpen(t, kit), 4096, nil)
		driver := <-shares
		one, cancel := context.WithCancel(t.Context())
		left := make(chan error, 100)
		for i := range 100 {
			ctx := t.Context()
			if i == 50 {
				ctx = one
			}
			go func() {
				_, err := s.Wait(ctx, 0)
				left <- err
			}()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(left) != 0 {
			t.Fatal("a waiter left without an event")
		}
		cancel()
		synctest.Wait()
		if len(left) != 1 || !errors.Is(<-left, context.Canceled) {
			t.Fatalf("after one was cancelled, %d more left", len(left))
		}
		driver.Notify()
		synctest.Wait()
		if len(left) != 99 {
			t.Fatalf("%d of 99 heard of the event", len(left))
		}
		for range 99 {
			if err := <-left; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestDoneWaitsForTheDriver: Close returns after the last bracket, not before.
func TestDoneWaitsForTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, shares := kept()
		stopped := false
		kit.Stop = func(s *Share, why kshm.Reason) { stopped = why == kshm.EndDone }
		s, _ := mustShare(t, mustOpen(t, kit), 4096, nil)
		driver := <-shares
		if !driver.Enter() {
			t.Fatal("Enter failed on a live share")
		}
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if len(closed) != 0 {
			t.Fatal("Close returned while the driver was inside")
		}
		if driver.Enter() {
			t.Error("Enter worked after the end had begun")
		}
		if !stopped || !driver.Ending() {
			t.Error("the driver was not told to stop")
		}
		driver.Base[0]++ // still allowed
		driver.Exit()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if !faults(func() { driver.Base[0]++ }) {
			t.Error("still mapped after Close")
		}
	})
}

func TestCancelIo(t *testing.T) {
	kit := &Kit{}
	d := NewDevice(kit, nil)
	dev, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, _ := mustShare(t, dev, 4096, nil)
	d.CancelIo()
	<-s.Done()
	if s.Err() != kshm.ErrCancelled {
		t.Errorf("a cancelled share ended with %v", s.Err())
	}
	if d.Pinned() != 0 {
		t.Errorf("%d bytes pinned", d.Pinned())
	}
}

func TestCorrupt(t *testing.T) {
	d := NewDigest()
	dev, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, buf := mustShare(t, dev, 8192, nil)
	page, err := kshm.View[digestPage](buf.Bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	page.length.Store(8192 - digestData + 1)
	page.request.Store(1)
	s.Kick()
	<-s.Done()
	st, err := s.Stats()
	if s.Err() != kshm.ErrCorrupt || err != nil || st.Reason != kshm.EndCorrupt || st.CorruptOffset != digestLengthAt || st.CorruptWhy != digestBadLength {
		t.Errorf("%v; %+v, %v", s.Err(), st, err)
	}
}

func TestControl(t *testing.T) {
	code := kshm.CTLCode(kshm.FileDeviceUnknown, 0x900, kshm.MethodBuffered, kshm.FileAnyAccess)
	dev := mustOpen(t, &Kit{Control: func(c kshm.ControlCode, in, out []byte) (int, Status) {
		if c != code {
			return 0, StatusInvalidDeviceRequest
		}
		return copy(out, strings.ToUpper(string(in))), StatusSuccess
	}})
	out := make([]byte, 8)
	n, err := dev.Control(t.Context(), code, []byte("hello"), out)
	if err != nil || string(out[:n]) != "HELLO" {
		t.Errorf("%q, %v", out[:n], err)
	}
	if _, err := dev.Control(t.Context(), code+4, nil, nil); !errors.Is(err, kshm.ErrNotSupported) {
		t.Errorf("unknown code: %v", err)
	}
	if _, err := dev.Control(t.Context(), kshm.CodeDone, nil, nil); !errors.Is(err, kshm.ErrInvalid) {
		t.Errorf("DONE by Control: %v", err)
	}
	if _, err := dev.Control(t.Context(), code, make([]byte, 65537), nil); !errors.Is(err, kshm.ErrRange) {
		t.Errorf("too much: %v", err)
	}
	if dev.Info().Features&kshm.FeatureControl == 0 {
		t.Error("the feature bit is missing")
	}
}

// controlFunc is a driver in one function.
type controlFunc func(*IRP) Status

func (f controlFunc) DriverControl(irp *IRP) Status { return f(irp) }

// TestPendedControl: a request of the driver's own may pend, and is cancelled
// with its context.
func TestPendedControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev := mustOpen(t, controlFunc(func(irp *IRP) Status {
			status := irp.Pend()
			irp.SetCancelRoutine(func(irp *IRP) { irp.Complete(StatusCancelled) })
			return status
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := dev.Control(ctx, kshm.CTLCode(1, 2, 0, 0), nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// TestBugchecks: a driver that breaks the rules of a request is stopped.
func TestBugchecks(t *testing.T) {
	for _, c := range []struct {
		name   string
		driver controlFunc
		want   string
	}{
		{"completed twice", func(irp *IRP) Status { irp.Complete(StatusSuccess); return irp.Complete(StatusSuccess) }, "completed twice"},
		{"completed as pending", func(irp *IRP) Status { return irp.Complete(StatusPending) }, "with STATUS_PENDING"},
		{"pending without Pend", func(*IRP) Status { return StatusPending }, "without Pend"},
		{"Pend and another status", func(irp *IRP) Status { irp.Pend(); return StatusSuccess }, "after Pend"},
		{"Pend after Complete", func(irp *IRP) Status { irp.Complete(StatusSuccess); return irp.Pend() }, "Pend after Complete"},
		{"neither", func(*IRP) Status { return StatusSuccess }, "without Complete"},
		{"cancel routine left", func(irp *IRP) Status {
			irp.SetCancelRoutine(func(*IRP) {})
			return irp.Complete(StatusSuccess)
		}, "cancel routine still set"},
		{"more than the buffer", func(irp *IRP) Status { irp.Information = 1; return irp.Complete(StatusSuccess) }, "1 bytes in a buffer of 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dev := NewDevice(c.driver, nil)
			d, err := dev.Open(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, c.want) {
					t.Errorf("bugcheck %q, want %q in it", got, c.want)
				}
			}()
			d.Control(t.Context(), kshm.CTLCode(1, 2, 0, 0), nil, nil)
			t.Error("no bugcheck")
		})
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a release too many went unnoticed")
			}
		}()
		new(Rundown).Release()
	}()
}

// TestRefusedByTheDriver: the driver's own status reaches the program; nothing
// stays locked.
func TestRefusedByTheDriver(t *testing.T) {
	for status, want := range map[Status]error{
		StatusInvalidParameter: kshm.ErrInvalid, StatusNotSupported: kshm.ErrNotSupported,
		StatusInvalidBufferSize: kshm.ErrRange, StatusQuotaExceeded: kshm.ErrLimit,
		StatusDeviceBusy: kshm.ErrLimit, Status(0xC0001234): Status(0xC0001234),
	} {
		d := NewDevice(&Kit{Share: func(*Share) Status { return status }}, nil)
		dev, err := d.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		buf, err := dev.Alloc(4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = dev.Share(buf, nil)
		if got, ok := errors.AsType[Status](err); !errors.Is(err, want) || !ok || got != status {
			t.Errorf("%v: %v, want %v", status, err, want)
		}
		if d.Pinned() != 0 {
			t.Errorf("%v: %d bytes pinned", status, d.Pinned())
		}
		if err := buf.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRevokedBeforeItPends: a driver may change its mind inside its own Share.
func TestRevokedBeforeItPends(t *testing.T) {
	dev := mustOpen(t, &Kit{Share: func(s *Share) Status { s.Revoke(); return StatusSuccess }})
	s, _ := mustShare(t, dev, 4096, nil)
	<-s.Done()
	if s.Err() != kshm.ErrRevoked {
		t.Errorf("%v", s.Err())
	}
}

// TestNothingGrows: sections, views and descriptors are given back.
func TestNothingGrows(t *testing.T) {
	dev := mustOpen(t, &Kit{})
	run := func(n int) {
		for range n {
			buf, err := dev.Alloc(4096, nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := dev.Share(buf, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(s.Close(), buf.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(100) // fills the quarantine
	files, maps := countProc(t, "/proc/self/fd"), countMaps(t)
	run(2000)
	if f, m := countProc(t, "/proc/self/fd"), countMaps(t); f > files+2 || m > maps+20 {
		t.Errorf("%d descriptors and %d mappings became %d and %d", files, maps, f, m)
	}
	allocations.Lock()
	defer allocations.Unlock()
	if len(allocations.live) != 0 {
		t.Errorf("%d allocations are still known", len(allocations.live))
	}
}

func countProc(t *testing.T, dir string) int {
	entries, err := os.ReadDir(dir)
	if runtime.GOOS == "linux" && err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func countMaps(t *testing.T) int {
	maps, err := os.ReadFile("/proc/self/maps")
	if runtime.GOOS == "linux" && err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "\n")
}

// TestDroppedInABubble: a share that has ended and was never closed is left to
// the collector, which works outside of the bubble.
func TestDroppedInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, shares := kept()
		dev := mustOpen(t, kit)
		buf, err := dev.Alloc(4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer buf.Close()
		s, err := dev.Share(buf, nil)
		if err != nil {
			t.Fatal(err)
		}
		(<-shares).Revoke()
		<-s.Done()
	})
	for range 10 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}
