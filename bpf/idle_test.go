// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/loop"
	"kshm/ring"
)

// No doorbell rings for a reader that is awake, at most one for each time that
// it sleeps, and an idle share does nothing.
func TestIdle(t *testing.T) {
	needBPF(t)
	s := shareLoop(t, 64<<10)
	consumers := make([]*ring.Consumer, s.from.Count)
	var err error
	for i := range consumers {
		if consumers[i], err = ring.NewConsumer(s.buf.Bytes(), s.from, i, s.Share); err != nil {
			t.Fatal(err)
		}
	}
	drain := func() (n uint64) {
		for _, c := range consumers {
			for _, ok := c.Next(); ok; _, ok = c.Next() {
				n++
				c.Release()
			}
		}
		return n
	}
	var received, produced uint64
	for range 2000 {
		n, err := loop.Produce(s.produce, loop.Burst{Records: 100, Size: 64, Batch: 32})
		if err != nil {
			t.Fatal(err)
		}
		produced += n
		received += drain()
	}
	if received != produced || produced == 0 {
		t.Errorf("produced %d, received %d", produced, received)
	}
	if st, err := s.Stats(); err != nil || st.Events != 0 {
		t.Errorf("a reader that was awake was rung for: %+v, %v", st, err)
	}
	// Nothing happens: all readers go to sleep, nobody wakes them, and no
	// program of the object runs, the timer neither.
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	before := s.runs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	done := make(chan error, len(consumers))
	for _, c := range consumers {
		go func() { done <- c.Wait(ctx) }()
	}
	for range consumers {
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	if st, err := s.Stats(); err != nil || st.Events != 0 {
		t.Errorf("an idle share has raised events: %+v, %v", st, err)
	}
	if after := s.runs(t); after != before {
		t.Errorf("programs of an idle share have run: %d times, before %d", after, before)
	}
	// The counter works: this is one run.
	if _, err := loop.Produce(s.produce, loop.Burst{Records: 1, Size: 64, Batch: 1}); err != nil {
		t.Fatal(err)
	}
	if after := s.runs(t); after == before {
		t.Error("the kernel does not count runs")
	}
	for _, c := range consumers {
		if n := c.Counters(); n.Sleeps > 1 {
			t.Errorf("a reader without records woke: %+v", n)
		}
	}
}

// runs is how often the share's programs have run, and its timer.
func (s *loopShare) runs(t *testing.T) (n uint64) {
	t.Helper()
	for _, p := range s.progs.Programs {
		stats, err := p.Stats()
		if err != nil {
			t.Fatal(err)
		}
		n += stats.RunCount
	}
	return n + ticks(t, s.progs)
}

func ticks(t *testing.T, c *ebpf.Collection) uint64 {
	t.Helper()
	raw, err := c.Maps["kshm_state"].LookupBytes(uint32(0))
	if err != nil {
		t.Fatal(err)
	}
	return ticksOf(raw)
}

// A record that waits for others is published by the timer, which then stops:
// it takes no processor time when there is nothing to do.
func TestTimer(t *testing.T) {
	needBPF(t)
	s := shareLive(t, 64, 64<<10, 1, bpf.Options{Batch: 32 << 10, Flush: 2 * time.Millisecond})
	c, err := ring.NewConsumer(s.buf.Bytes(), s.groups[0], 0, s.Share)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	need, err := kshm.View[atomic.Uint64](s.buf.Bytes(), s.groups[0].Offset+512)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for need.Load()&1 == 0 && ctx.Err() == nil { // until the reader sleeps
			time.Sleep(time.Millisecond)
		}
		stormOn(0, 10)
	}()
	n := 0
	for range c.All(ctx) {
		if n++; n == 10 {
			break
		}
	}
	if n != 10 {
		t.Fatalf("%d records: %v", n, c.Err())
	}
	// The first one's doorbell starts the timer, which stops by itself.
	for ticks(t, s.progs) == 0 {
		if time.Sleep(time.Millisecond); ctx.Err() != nil {
			t.Fatal("the timer has never run")
		}
	}
	for last := ticks(t, s.progs); ; {
		time.Sleep(20 * time.Millisecond)
		now := ticks(t, s.progs)
		if now == last {
			break
		}
		if last = now; ctx.Err() != nil {
			t.Fatal("the timer does not stop")
		}
	}
}
