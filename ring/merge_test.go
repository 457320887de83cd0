// SPDX-License-Identifier: MIT

package ring_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kshm/ring"
)

// lanes makes n rings and a merger of them.
func lanes(t *testing.T, n int, window time.Duration) ([]byte, []*ring.Producer, *ring.Merger) {
	t.Helper()
	pb, cb := newBells()
	mem, producers, m := lanesOf(t, n, 4096, window, pb, cb)
	return mem, producers, m
}

func lanesOf(t *testing.T, n, capacity int, window time.Duration, pb, cb ring.Doorbell) ([]byte, []*ring.Producer, *ring.Merger) {
	t.Helper()
	var l ring.Layout
	g, err := l.Add(ring.ToUser, n, capacity)
	if err != nil {
		t.Fatal(err)
	}
	mem := make([]byte, l.Size())
	if err := ring.Format(mem, g); err != nil {
		t.Fatal(err)
	}
	producers, consumers := make([]*ring.Producer, n), make([]*ring.Consumer, n)
	for i := range n {
		if producers[i], err = ring.NewProducer(mem, g, i, pb); err != nil {
			t.Fatal(err)
		}
		if consumers[i], err = ring.NewConsumer(mem, g, i, cb); err != nil {
			t.Fatal(err)
		}
	}
	m, err := ring.NewMerger(window, consumers...)
	if err != nil {
		t.Fatal(err)
	}
	return mem, producers, m
}

func stamp(t *testing.T, p *ring.Producer, time uint64) {
	t.Helper()
	if err := p.Write(testContext(t), binary.NativeEndian.AppendUint64(nil, time)); err != nil {
		t.Fatal(err)
	}
}

// next is the timestamp of what may come out now, or 0.
func next(m *ring.Merger) uint64 {
	rec, _, ok := m.Next()
	if !ok {
		return 0
	}
	defer m.Release()
	return binary.NativeEndian.Uint64(rec)
}

// A record waits for a quiet ring until that one's record or watermark is as
// new, and no longer.
func TestMergeWaitsForQuietRings(t *testing.T) {
	_, p, m := lanes(t, 3, time.Hour)
	stamp(t, p[0], 10)
	stamp(t, p[0], 30)
	stamp(t, p[1], 20)
	wantNext := func(want ...uint64) {
		t.Helper()
		for _, w := range want {
			if got := next(m); got != w {
				t.Fatalf("got %d, want %d", got, w)
			}
		}
	}
	wantNext(0) // ring 2 may still bring an older one
	p[2].Watermark(15)
	wantNext(10, 0) // 20 could still come after 15
	stamp(t, p[2], 25)
	wantNext(20, 0) // ring 1 may bring one between 20 and 25
	p[1].Watermark(30)
	wantNext(25, 0)
	p[2].Watermark(30)
	wantNext(30, 0)
	if m.Late() != 0 {
		t.Errorf("%d late", m.Late())
	}
}

// After the window a record comes out anyway, and what then comes too late is
// counted.
func TestMergeWindow(t *testing.T) {
	_, p, m := lanes(t, 2, 5*time.Millisecond)
	ctx := testContext(t)
	stamp(t, p[0], 100)
	if err := m.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if got := next(m); got != 100 {
		t.Fatalf("got %d after the window, want 100", got)
	}
	stamp(t, p[1], 50)
	if err := m.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if got := next(m); got != 50 || m.Late() != 1 {
		t.Errorf("got %d, %d late; want 50, 1 late", got, m.Late())
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := m.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait on empty rings: %v", err)
	}
}

// A ring that stays silent delays all records that lie ready by one window
// together, not each by one; those that come meanwhile by one more.
func TestMergeWindowIsOneForAll(t *testing.T) {
	const window, records = time.Second, 1000
	synctest.Test(t, func(t *testing.T) {
		pb, cb := newBells()
		_, p, m := lanesOf(t, 3, 1<<16, window, pb, cb) // ring 2 is silent
		fill := func(from, n int) {
			for i := range n {
				stamp(t, p[i%2], uint64(from+i))
			}
		}
		fill(1, records)
		start, n := time.Now(), 0
		for _, rec := range m.All(t.Context()) {
			if n++; binary.NativeEndian.Uint64(rec) != uint64(n) {
				t.Fatalf("record %d has time %d", n, binary.NativeEndian.Uint64(rec))
			}
			if took := time.Since(start); took < window || took > 2*window {
				t.Fatalf("record %d came after %v, window %v", n, took, window)
			}
			if n == 1 {
				fill(records+1, 100) // while the others come out
			}
			if n == records+100 {
				break
			}
		}
		if took := time.Since(start); n != records+100 || took != 2*window {
			t.Errorf("%d records took %v, window %v: %v", n, took, window, m.Err())
		}
	})
}

// What was published before the end of the share comes out before the error,
// in order, whatever is quiet.
func TestMergeBeforeTheEnd(t *testing.T) {
	ended := errors.New("the share has ended")
	for name, rings := range map[string]int{"one of two rings": 1, "both rings": 2} {
		t.Run(name, func(t *testing.T) {
			pb, cb := newBells()
			_, p, m := lanesOf(t, 2, 1<<14, time.Hour, pb, cb)
			const records = 101
			for i := range records {
				stamp(t, p[i%rings], uint64(i+1))
			}
			cb.finish(ended)
			n := 0
			for _, rec := range m.All(testContext(t)) {
				if n++; binary.NativeEndian.Uint64(rec) != uint64(n) {
					t.Fatalf("record %d has time %d", n, binary.NativeEndian.Uint64(rec))
				}
			}
			if n != records || !errors.Is(m.Err(), ended) || m.Late() != 0 {
				t.Errorf("%d of %d records, %d late, then %v", n, records, m.Late(), m.Err())
			}
		})
	}
}

// A context that is done is not the end of the share: the window holds on.
func TestMergeAfterCancel(t *testing.T) {
	_, p, m := lanes(t, 2, time.Hour)
	stamp(t, p[0], 10)
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	for range m.All(ctx) {
		t.Error("a record came out before its time")
	}
	if !errors.Is(m.Err(), context.Canceled) {
		t.Errorf("All ended with %v", m.Err())
	}
	short, cancel := context.WithTimeout(testContext(t), time.Millisecond)
	defer cancel()
	if err := m.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the next Wait: %v", err)
	}
	p[1].Watermark(10)
	if err := m.Wait(testContext(t)); err != nil || next(m) != 10 {
		t.Errorf("Wait afterwards: %v", err)
	}
}

// Producers that run at once come out in the order of their clock.
func TestMergeOrder(t *testing.T) {
	const n, records = 4, 5000
	_, p, m := lanes(t, n, time.Minute)
	ctx := testContext(t)
	start := time.Now()
	for i := range p {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for range records {
				rec := make([]byte, 8+rng.IntN(100))
				for {
					if to, err := p[i].Reserve(len(rec)); err == nil {
						// The time is taken inside the section.
						binary.NativeEndian.PutUint64(to, uint64(time.Since(start)))
						p[i].Commit(len(rec))
						p[i].Flush()
						break
					}
					p[i].Wait(ctx, len(rec))
				}
			}
			p[i].Watermark(1 << 62)
		}()
	}
	var last uint64
	var counts [n]int
	total := 0
	for index, rec := range m.All(ctx) {
		at := binary.NativeEndian.Uint64(rec)
		if at < last {
			t.Fatalf("record %d: time %d after %d", total, at, last)
		}
		last = at
		counts[index]++
		if total++; total == n*records {
			break
		}
	}
	if m.Err() != nil || slices.Min(counts[:]) != records {
		t.Errorf("got %v records, %v", counts, m.Err())
	}
}

// A ring that dies, or whose records have no timestamp, ends Wait with its
// verdict; the others' records still come out.
func TestMergeCorrupt(t *testing.T) {
	mem, p, m := lanes(t, 2, time.Hour)
	stamp(t, p[1], 7)
	if err := p[0].Write(testContext(t), make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if got := next(m); got != 7 {
		t.Errorf("got %d from the good ring, want 7", got)
	}
	wantVerdict(t, m.Wait(testContext(t)), ring.NoTimestamp, dataAt)
	wantVerdict(t, m.Err(), ring.NoTimestamp, dataAt)
	poke(mem, producerAt, 4096)
	if got := next(m); got != 0 {
		t.Errorf("got %d from a dead ring", got)
	}
	if _, err := ring.NewMerger(0); err == nil {
		t.Error("merged no rings")
	}
}
