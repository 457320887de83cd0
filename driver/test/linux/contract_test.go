// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/internal/abi"
)

func TestKernelSeesStoresAndBack(t *testing.T) {
	dev := open(t, "probe")
	_, buf := share(t, dev, 3*4096-5, &kshm.ShareOptions{Cookie: 7})
	copy(buf.Bytes()[5000:], "written by the program")
	if got := mustCommand(t, dev, probePeek, probeCommand{Cookie: 7, Offset: 5000, Length: 22}, 22); string(got) != "written by the program" {
		t.Errorf("the kernel sees %q", got)
	}
	mustCommand(t, dev, probePoke, probeCommand{Cookie: 7, Offset: 12000, Value: 'k', Length: 200}, 0)
	if got := buf.Bytes()[12000:12200]; !bytes.Equal(got, bytes.Repeat([]byte{'k'}, 200)) {
		t.Errorf("the program sees %q", got)
	}
	if buf.Bytes()[11999] != 0 || buf.Bytes()[12200] != 0 {
		t.Error("bytes beside were changed")
	}
}

func TestReadOnlyShare(t *testing.T) {
	dev := open(t, "probe")
	mem := mmap(t, 2*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	copy(mem, "constant")
	// The first page has been touched and the second never; the program
	// gives up its own right to write both.
	if err := unix.Mprotect(mem[:4096], unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	buf, err := kshm.Wrap(mem)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(buf, &kshm.ShareOptions{ReadOnly: true, Cookie: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mem[4096] = 'x' // pinned for writing although the kernel only reads
	got := mustCommand(t, dev, probePeek, probeCommand{Cookie: 3, Length: 4097}, 4097)
	if string(got[:8]) != "constant" || got[4096] != 'x' {
		t.Errorf("the kernel sees %q and %q", got[:8], got[4096])
	}
	if _, err := command(t, dev, probePoke, probeCommand{Cookie: 3, Length: 1}, 0); err == nil {
		t.Error("the driver wrote to a read-only share")
	}
	if !inUserMode(t) { // where the kernel may write to all that it has mapped
		storesFault(t, dev, mem)
	}
	// Without ReadOnly the same memory is refused.
	if _, err := dev.Share(buf, nil); !errors.Is(err, kshm.ErrMemory) {
		t.Errorf("writable share of read-only memory: %v", err)
	}
}

// storesFault has the kernel write to the read-only share 3, which is mem, and to
// one for both.
func storesFault(t *testing.T, dev *kshm.Device, mem []byte) {
	t.Helper()
	for _, at := range []uint64{0, 4096, 2*4096 - 1} {
		_, err := command(t, dev, probeTryPoke, probeCommand{Cookie: 3, Offset: at, Value: '!'}, 0)
		if !errors.Is(err, unix.EFAULT) {
			t.Errorf("a store of the kernel's to byte %d: %v", at, err)
		}
	}
	if mem[0] != 'c' || mem[4096] != 'x' || mem[2*4096-1] != 0 {
		t.Error("the kernel's stores changed a read-only share")
	}
	_, both := share(t, dev, 4096, &kshm.ShareOptions{Cookie: 4})
	mustCommand(t, dev, probeTryPoke, probeCommand{Cookie: 4, Offset: 7, Value: '!'}, 0)
	if both.Bytes()[7] != '!' {
		t.Errorf("the program sees %d", both.Bytes()[7])
	}
}

func TestManySharesOfOneBuffer(t *testing.T) {
	dev := open(t, "probe")
	buf, err := dev.Alloc(4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := pinsHeld(t)
	shares := make([]*kshm.Share, 1000)
	for i := range shares {
		if shares[i], err = dev.Share(buf, &kshm.ShareOptions{Cookie: uint64(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if held := pinsHeld(t) - before; held != 1000 {
		t.Errorf("%d pages pinned by 1000 shares of one page", held)
	}
	if err := buf.Close(); !errors.Is(err, kshm.ErrShared) {
		t.Errorf("Close of a shared buffer: %v", err)
	}
	copy(buf.Bytes(), "all")
	for _, cookie := range []uint64{1, 500, 1000} {
		if got := mustCommand(t, dev, probePeek, probeCommand{Cookie: cookie, Length: 3}, 3); string(got) != "all" {
			t.Errorf("share %d sees %q", cookie, got)
		}
	}
	for _, s := range shares {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages still pinned", held)
	}
	if err := buf.Close(); err != nil {
		t.Error(err)
	}
}

func TestEventsFromEveryContext(t *testing.T) {
	dev := open(t, "probe")
	for name, where := range map[string]uint32{"task": inTask, "hardirq": inHardirq, "softirq": inSoftirq} {
		t.Run(name, func(t *testing.T) {
			s, _ := share(t, dev, 4096, &kshm.ShareOptions{Cookie: 9})
			var seen uint64
			for round := range 200 {
				mustCommand(t, dev, probeNotify, probeCommand{Cookie: 9, Value: 3, Context: where}, 0)
				for want := uint64(3 * (round + 1)); seen < want; {
					var err error
					if seen, err = s.Wait(t.Context(), seen); err != nil {
						t.Fatal(err)
					}
				}
			}
			if seen != 600 {
				t.Errorf("%d events, want 600", seen)
			}
		})
	}
}

// A waiter that sleeps each time must never miss an event: one lost wake-up
// hangs this test.
func TestNoLostWakeup(t *testing.T) {
	s, _ := share(t, open(t, "probe"), 4096, &kshm.ShareOptions{Cookie: 2})
	const rounds = 20000
	go func() {
		for range rounds {
			seen := s.Events()
			if err := s.Kick(); err != nil {
				return
			}
			if _, err := s.Wait(context.Background(), seen); err != nil {
				return
			}
		}
	}()
	var seen uint64
	for seen < rounds {
		var err error
		if seen, err = s.Wait(t.Context(), seen); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHundredWaiters(t *testing.T) {
	s, _ := share(t, open(t, "probe"), 4096, &kshm.ShareOptions{Cookie: 4})
	ctx, cancel := context.WithCancel(t.Context())
	threads := threadCount(t)
	results := make(chan error, 100)
	for i := range 100 {
		go func() {
			c := t.Context()
			if i == 0 {
				c = ctx
			}
			_, err := s.Wait(c, 0)
			results <- err
		}()
	}
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Fatalf("first to return: %v", err)
	}
	if grown := threadCount(t) - threads; grown > 10 {
		t.Errorf("99 waiters hold %d threads more", grown)
	}
	if err := s.Kick(); err != nil {
		t.Fatal(err)
	}
	for range 99 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func threadCount(t testing.TB) int {
	entries, err := readDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestRevokeFromEveryContext(t *testing.T) {
	dev := open(t, "probe")
	for name, where := range map[string]uint32{"task": inTask, "hardirq": inHardirq, "softirq": inSoftirq} {
		t.Run(name, func(t *testing.T) {
			before := pinsHeld(t)
			s, buf := share(t, dev, 5*4096, &kshm.ShareOptions{Cookie: 5})
			waiting := make(chan error)
			go func() {
				_, err := s.Wait(t.Context(), 0)
				waiting <- err
			}()
			mustCommand(t, dev, probeRevoke, probeCommand{Cookie: 5, Context: where}, 0)
			if err := <-waiting; !errors.Is(err, kshm.ErrRevoked) {
				t.Errorf("Wait: %v", err)
			}
			<-s.Done()
			if !errors.Is(s.Err(), kshm.ErrRevoked) || !errors.Is(s.Kick(), kshm.ErrRevoked) {
				t.Errorf("Err %v, Kick %v", s.Err(), s.Kick())
			}
			if held := pinsHeld(t) - before; held != 0 {
				t.Errorf("%d pages pinned after revoke", held)
			}
			buf.Bytes()[0] = 1 // the program keeps its memory
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if st, err := s.Stats(); err != nil || st.Reason != kshm.EndRevoked || st.Pinned != 0 {
				t.Errorf("stats %+v, %v", st, err)
			}
		})
	}
}

func TestCorruptionHasReasonAndPlace(t *testing.T) {
	dev := open(t, "probe")
	s, _ := share(t, dev, 4096, &kshm.ShareOptions{Cookie: 6})
	mustCommand(t, dev, probeCorrupt, probeCommand{Cookie: 6, Offset: 123, Value: 45}, 0)
	<-s.Done()
	st, err := s.Stats()
	if !errors.Is(s.Err(), kshm.ErrCorrupt) || err != nil || st.CorruptOffset != 123 || st.CorruptWhy != 45 {
		t.Errorf("%v, stats %+v, %v", s.Err(), st, err)
	}
}

func TestDigestRejectsHostileHeader(t *testing.T) {
	s, buf := share(t, open(t, "digest"), 8192, nil)
	page := view(t, buf)
	page.length = 4097
	page.request.Add(1)
	if err := s.Kick(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if !errors.Is(s.Err(), kshm.ErrCorrupt) {
		t.Errorf("ended with %v", s.Err())
	}
}

// share() may refuse, and may even revoke what it agrees to.
func TestDriverRefusesOrRevokesAtOnce(t *testing.T) {
	dev := open(t, "probe")
	buf, err := dev.Alloc(4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, stops := pinsHeld(t), probeCountsNow(t, dev).Stops
	if _, err := dev.Share(buf, &kshm.ShareOptions{Cookie: cookieRefuse}); !errors.Is(err, unix.EPERM) {
		t.Errorf("refused with %v", err)
	}
	if probeCountsNow(t, dev).Stops != stops {
		t.Error("stop() was called for a refused share")
	}
	s, err := dev.Share(buf, &kshm.ShareOptions{Cookie: cookieRevoke})
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Close(); err != nil || !errors.Is(s.Err(), kshm.ErrRevoked) {
		t.Errorf("Close %v, Err %v", err, s.Err())
	}
	if held := pinsHeld(t) - before; held != 0 || probeCountsNow(t, dev).Stops != stops+1 {
		t.Errorf("%d pins, %d stops", held, probeCountsNow(t, dev).Stops-stops)
	}
	if err := buf.Close(); err != nil {
		t.Error(err)
	}
}

// Close waits for stop() and for those between kshm_enter() and kshm_exit().
func TestCloseDrains(t *testing.T) {
	dev := open(t, "probe")
	s, _ := share(t, dev, 4096, &kshm.ShareOptions{Cookie: 8})
	gone := make(chan error, 1)
	go func() {
		for err := error(nil); err == nil; { // until no share has the cookie
			_, err = command(t, dev, probeHold, probeCommand{Cookie: 8, Value: 300}, 0)
			if err != nil {
				gone <- err
			}
		}
	}()
	for probeCountsNow(t, dev).Inside == 0 {
		select {
		case err := <-gone:
			t.Fatal(err)
		default:
		}
	}
	mustCommand(t, dev, probeSlowStop, probeCommand{Value: 50}, 0)
	stops := probeCountsNow(t, dev).Stops
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now := probeCountsNow(t, dev)
	if now.Stops != stops+1 {
		t.Error("Close returned before stop() did")
	}
	if now.Inside != 0 {
		t.Error("Close returned while the driver was at work in the share")
	}
	if err := <-gone; !errors.Is(err, unix.ENOENT) {
		t.Errorf("a command to a share that is over: %v", err)
	}
}

func TestCloseRacesWithEverything(t *testing.T) {
	dev := open(t, "probe")
	before := pinsHeld(t)
	for range 300 {
		buf, err := dev.Alloc(8192, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := dev.Share(buf, &kshm.ShareOptions{Cookie: 77})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for s.Kick() == nil {
			}
		})
		wg.Go(func() {
			for seen, err := uint64(0), error(nil); err == nil; {
				seen, err = s.Wait(t.Context(), seen)
			}
		})
		wg.Go(func() {
			runtime.Gosched()
			command(t, dev, probeNotify, probeCommand{Cookie: 77, Value: 5, Context: inHardirq}, 0)
		})
		wg.Go(func() { command(t, dev, probeRevoke, probeCommand{Cookie: 77, Context: inSoftirq}, 0) })
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if err := buf.Close(); err != nil {
			t.Fatal(err)
		}
	}
	probeCountsNow(t, dev)
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages still pinned", held)
	}
}

// A second reader of the descriptor, which a forked child or a process that was
// sent one can be, may take events away. It must not make the owner believe
// that the share has ended.
func TestSecondReader(t *testing.T) {
	dev := open(t, "probe")
	device := rawOpen(t, "probe")
	mem := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	s, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Cookie: 13, Access: abi.AccessRead})
	if err != nil {
		t.Fatal(err)
	}
	var stopped atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for buf := make([]byte, 8); ; {
				n, err := unix.Read(s, buf)
				if err == unix.EINTR {
					continue
				}
				if n == 0 && stopped.Load() {
					return
				}
				if n != 8 || err != nil {
					t.Errorf("read of a live share: %d, %v", n, err)
					return
				}
			}
		})
	}
	for range 3000 {
		mustCommand(t, dev, probeNotify, probeCommand{Cookie: 13, Value: 1, Context: inTask}, 0)
	}
	stopped.Store(true)
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	if _, err := rawIoctl(s, abi.IoctlDone, unsafe.Pointer(&cmd)); err != nil {
		t.Error(err)
	}
	wg.Wait()
	unix.Close(s)
}
