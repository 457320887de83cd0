// SPDX-License-Identifier: MIT

package ring_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kshm/ring"
)

var errKick = errors.New("not now")

// stubborn is a Doorbell whose Kick fails some times.
type stubborn struct {
	*bell
	fails int
}

func (b *stubborn) Kick() error {
	if b.fails > 0 {
		b.fails--
		return errKick
	}
	return b.bell.Kick()
}

// A producer whose Kick fails says so, and rings at the next Flush, with
// nothing new to publish: the consumer still sleeps.
func TestFlushAfterFailedKick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, g := heapRing(t, 4096)
		pb, cb := newBells()
		p, c := newPair(t, mem, g, &stubborn{pb, 2}, cb)
		c.NoSpin()
		woken := make(chan error, 1)
		go func() { woken <- c.Wait(testContext(t)) }()
		synctest.Wait() // until it sleeps
		if err := p.Write(t.Context(), []byte("here")); !errors.Is(err, errKick) {
			t.Errorf("Write: %v", err)
		}
		if err := p.Flush(); !errors.Is(err, errKick) {
			t.Errorf("the second Flush: %v", err)
		}
		if err := p.Flush(); err != nil {
			t.Errorf("the third Flush: %v", err)
		}
		if err := <-woken; err != nil {
			t.Fatalf("the consumer: %v", err)
		}
		if err := p.Flush(); err != nil || pb.kicks.Load() != 1 || p.Counters().Wakes != 1 {
			t.Errorf("rang %d times, counted %d: %v", pb.kicks.Load(), p.Counters().Wakes, err)
		}
	})
}

// crowd fills a ring with records of 1000 bytes that begin with times from 1 on.
func crowd(t *testing.T, p *ring.Producer) (records int) {
	t.Helper()
	for n := uint64(1); ; n++ {
		rec, err := p.Reserve(1000)
		if err == ring.ErrFull {
			p.Flush()
			return int(n - 1)
		}
		binary.NativeEndian.PutUint64(rec, n)
		p.Commit(1000)
	}
}

// The same for space: Release cannot say that its Kick failed, so the next
// Flush or Wait rings.
func TestReleaseAfterFailedKick(t *testing.T) {
	for name, again := range map[string]func(*ring.Consumer) error{
		"Flush": (*ring.Consumer).Flush,
		"Wait":  func(c *ring.Consumer) error { return c.Wait(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem, g := heapRing(t, 4096)
				pb, cb := newBells()
				p, c := newPair(t, mem, g, pb, &stubborn{cb, 1})
				p.NoSpin()
				crowd(t, p)
				woken := make(chan error, 1)
				go func() { woken <- p.Wait(testContext(t), 1000) }()
				synctest.Wait()
				for range 2 { // more than a quarter
					if _, ok := c.Next(); !ok {
						t.Fatal(c.Err())
					}
					c.Release()
				}
				if err := again(c); err != nil {
					t.Errorf("rings again: %v", err)
				}
				if err := <-woken; err != nil {
					t.Errorf("the producer: %v", err)
				}
			})
		})
	}
}

// What has come since is handed out before the Doorbell's error.
func TestWaitAfterFailedKick(t *testing.T) {
	mem, g := heapRing(t, 4096)
	pb, cb := newBells()
	p, c := newPair(t, mem, g, pb, &stubborn{cb, 1 << 30})
	poke(mem, producerAt+128, 1) // need_wakeup: as if it slept for space
	for range 2 {
		if err := p.Write(t.Context(), []byte("here")); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(testContext(t)); err != nil {
			t.Fatalf("with a record there: %v", err)
		}
		c.Next()
		c.Release()
	}
	if err := c.Wait(testContext(t)); !errors.Is(err, errKick) {
		t.Errorf("with none: %v", err)
	}
}

// A Merger that waits for a quiet ring has given all space back: the quiet
// ring's producer may be the one that sleeps for it. If its Kick fails it does
// not hold the other records back in vain, and tells.
func TestMergeGivesSpaceBack(t *testing.T) {
	for _, fails := range []int{0, 1 << 30} {
		synctest.Test(t, func(t *testing.T) {
			pb, cb := newBells()
			_, p, m := lanesOf(t, 2, 4096, time.Hour, pb, &stubborn{cb, fails})
			records := crowd(t, p[0])
			p[1].Watermark(1)
			if first := next(m); first != 1 { // less than a quarter
				t.Fatalf("got %d, want 1", first)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p[0].NoSpin()
			woken := make(chan error, 1)
			go func() { woken <- p[0].Wait(ctx, 1000) }()
			synctest.Wait()
			merged, ended := 1, make(chan error, 1)
			go func() {
				for range m.All(ctx) {
					merged++
				}
				ended <- m.Err()
			}()
			synctest.Wait()
			if fails == 0 {
				if err := <-woken; err != nil || merged != 1 {
					t.Errorf("the producer: %v, with %d records out", err, merged)
				}
				return
			}
			if err := <-ended; !errors.Is(err, errKick) || merged != records {
				t.Errorf("%d of %d records, then %v", merged, records, err)
			}
		})
	}
}
