// SPDX-License-Identifier: MIT

package kshmtest

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"time"

	"kshm"
)

// mustEnd waits for the share's end.
func (w *work) mustEnd(want error) {
	w.Helper()
	select {
	case <-w.share.Done():
	case <-time.After(patience):
		w.Fatal("the share has not ended")
	}
	if err := w.share.Err(); err != want {
		w.Errorf("the share ended with %v, want %v", err, want)
	}
}

// doneSynchronous: when Close returns, the kernel has let go.
func doneSynchronous(b *bench) {
	be := b.device()
	before := b.pinned(be)
	w := b.share(be)
	w.round()
	if be.Pinned != nil && b.pinned(be) <= before {
		b.Error("a live share pins nothing")
	}
	b.ok(w.share.Close())
	if n := b.pinned(be); n != before {
		b.Errorf("%d pinned after Close, %d before the share", n, before)
	}
	select {
	case <-w.share.Done():
	default:
		b.Error("Done is open after Close")
	}
	w.mustEnd(kshm.ErrClosed)
	if err := w.look(); err != nil {
		b.Errorf("the answer is gone after Close: %v", err)
	}
}

// doneWhileWorking: Close in the middle of a request waits for the driver's
// use of the memory; nothing is written afterwards.
func doneWhileWorking(b *bench) {
	be := b.device()
	other := b.share(be)
	mem := b.alloc(be)
	for range 30 {
		w := b.shareOf(be, mem)
		w.write()
		kicked := make(chan error, 1)
		go func() { kicked <- w.share.Kick() }()
		runtime.Gosched()
		b.ok(w.share.Close())
		after := bytes.Clone(mem.Bytes())
		if err := <-kicked; err != nil {
			b.mustBe("the kick", err, kshm.ErrClosed)
		}
		other.round() // the driver has had time
		if !bytes.Equal(after, mem.Bytes()) {
			b.Fatal("the memory has changed after Close")
		}
	}
}

// doneIdempotent: any number of Closes, at once too.
func doneIdempotent(b *bench) {
	w := b.share(b.device())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := w.share.Close(); err != nil {
				b.Error(err)
			}
			select {
			case <-w.share.Done():
			default:
				b.Error("Close has returned before the end")
			}
		})
	}
	all.Wait()
	b.ok(w.share.Close())
}

// doneRaces: Close against Kick, Wait, Stats, Events and the driver's events.
func doneRaces(b *bench) {
	be := b.device()
	mem := b.alloc(be)
	for range 50 {
		w := b.shareOf(be, mem)
		w.write()
		var all sync.WaitGroup
		user := func(use func() error) {
			all.Go(func() {
				for {
					if err := use(); err != nil {
						b.mustBe("a call during Close", err, kshm.ErrClosed)
						return
					}
				}
			})
		}
		user(w.share.Kick)
		var seen uint64
		user(func() (err error) { seen, err = w.share.Wait(context.Background(), seen); return err })
		user(func() error {
			heard := w.share.Events()
			if st, err := w.share.Stats(); err != nil || st.Events < heard {
				b.Errorf("stats during Close: %+v, %v", st, err)
			}
			if w.share.Err() != nil {
				return &kshm.OpError{Op: "stats", Err: w.share.Err()}
			}
			return nil
		})
		runtime.Gosched()
		b.ok(w.share.Close())
		all.Wait()
	}
}

// shareManyTimes: nothing grows with the number of shares made.
func shareManyTimes(b *bench) {
	be := b.device()
	before := b.pinned(be)
	mem := b.alloc(be)
	for range 1000 {
		s, err := be.Device.Share(mem.Buffer, nil)
		b.ok(err)
		b.ok(s.Close())
	}
	if n := b.pinned(be); n != before {
		b.Errorf("%d pinned, %d before", n, before)
	}
	b.shareOf(be, mem).round()
}

// droppedShare: a share that the program has lost ends in time.
func droppedShare(b *bench) {
	be := b.device()
	mem := b.alloc(be)
	func() {
		s, err := be.Device.Share(mem.Buffer, nil)
		b.ok(err)
		b.ok(s.Kick())
	}()
	deadline := time.Now().Add(patience)
	for mem.Close() != nil {
		if time.Now().After(deadline) {
			b.Fatal("the share lives on")
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

// useAfterDone: use after Close is an error, never a crash.
func useAfterDone(b *bench) {
	w := b.share(b.device())
	w.round()
	b.ok(w.share.Close())
	for range 2 {
		b.mustBe("Kick", w.share.Kick(), kshm.ErrClosed)
		_, err := w.share.Wait(context.Background(), w.share.Events())
		b.mustBe("Wait", err, kshm.ErrClosed)
		if _, err := w.share.Stats(); err != nil {
			b.Error(err)
		}
		if err := w.share.Err(); err != kshm.ErrClosed {
			b.Errorf("Err: %v", err)
		}
	}
}

// deviceClose: closing the device ends its shares, as Share.Close does. The
// memory is the program's, and stays.
func deviceClose(b *bench) {
	be := b.device()
	before := b.pinned(be)
	one := b.share(be)
	one.round()
	var other *work
	if be.Device.Info().MaxOpenShares > 1 {
		other = b.share(be)
	}
	b.ok(be.Device.Close())
	if n := b.pinned(be); n != before {
		b.Errorf("%d pinned after the device's Close, %d before", n, before)
	}
	one.mustEnd(kshm.ErrClosed)
	if other != nil {
		other.mustEnd(kshm.ErrClosed)
	}
	if err := one.look(); err != nil {
		b.Error(err)
	}
	b.ok(be.Device.Close())
}

// deviceCloseRaces: a Share that comes while the device is closed either ends
// before Close returns or is refused.
func deviceCloseRaces(b *bench) {
	for range 20 {
		be := b.device()
		before := b.pinned(be)
		mem := b.alloc(be)
		refused := make(chan error, 1)
		go func() {
			for {
				s, err := be.Device.Share(mem.Buffer, nil)
				if err == nil {
					err = s.Close()
				}
				if err != nil {
					refused <- err
					return
				}
			}
		}()
		runtime.Gosched()
		b.ok(be.Device.Close())
		if n := b.pinned(be); n != before {
			b.Errorf("%d pinned after the device's Close, %d before", n, before)
		}
		b.mustBe("Share during Close", <-refused, kshm.ErrClosed)
	}
}

// useAfterDeviceClose: a closed device refuses everything.
func useAfterDeviceClose(b *bench) {
	be := b.device()
	mem := b.alloc(be)
	b.ok(be.Device.Close())
	_, err := be.Device.Share(mem.Buffer, nil)
	b.mustBe("Share", err, kshm.ErrClosed)
	_, err = be.Device.Alloc(1, nil)
	b.mustBe("Alloc", err, kshm.ErrClosed)
	_, err = be.Device.Control(context.Background(), kshm.CTLCode(kshm.FileDeviceUnknown, 0xfff, 0, 0), nil, nil)
	b.mustBe("Control", err, kshm.ErrClosed)
	if be.Device.Info().KernelSide == "" {
		b.Error("Info is gone")
	}
}
