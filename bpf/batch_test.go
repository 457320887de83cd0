// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"kshm/bpf"
	"kshm/bpf/loop"
	"kshm/ring"
)

// timed is a share of the loop object whose timer can be started.
type timed struct {
	*loopShare
	need []*atomic.Uint64 // of the readers
	odd  uint64
	read []*ring.Consumer
	info *ebpf.Map
}

func shareTimed(t testing.TB, capacity int, o bpf.Options) *timed {
	t.Helper()
	s := &timed{loopShare: &loopShare{}, odd: 1}
	o.Attach = func(c *ebpf.Collection) (_ []link.Link, err error) {
		s.produce, err = c.Programs["loop_produce"].Clone()
		s.info = c.Maps["kshm_state"]
		return nil, err
	}
	s.share(t, openLoop(t, &o), 1, capacity)
	t.Cleanup(func() { s.produce.Close() })
	s.read = s.readers(t)
	for i := range s.read {
		s.need = append(s.need, word(s.buf.Bytes(), s.from.Offset+i*s.from.Stride()+512))
	}
	return s
}

// doze has all readers look asleep until one record has rung for them, which
// starts the timer.
func (s *timed) doze(t testing.TB) {
	t.Helper()
	for _, n := range s.need {
		n.Store(s.odd)
	}
	if _, err := loop.Produce(s.produce, loop.Burst{Records: 1, Size: 64}); err != nil {
		t.Fatal(err)
	}
	for _, n := range s.need {
		n.Store(s.odd + 1)
	}
	s.odd += 2
}

// state is struct kshm_state.
func (s *timed) state(t testing.TB) []byte {
	t.Helper()
	raw, err := s.info.LookupBytes(uint32(0))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// drain reads all that there is to see.
func (s *timed) drain() (n int) {
	for _, c := range s.read {
		for _, ok := c.Next(); ok; _, ok = c.Next() {
			c.Release()
			n++
		}
	}
	return n
}

// The least ring, and records that wait for others, of which there are more
// than it holds: the reader keeps up, so none finds it full.
func TestBatchOfRing(t *testing.T) {
	needBPF(t)
	s := shareTimed(t, 4096, bpf.Options{Batch: 1 << 20, Flush: time.Hour})
	stayOn(0)
	for begun := time.Now(); tickingOf(s.state(t)) == 0; {
		if s.doze(t); time.Since(begun) > time.Minute {
			t.Fatal("the timer does not start")
		}
		s.drain()
	}
	for range 100 {
		done, err := loop.Produce(s.produce, loop.Burst{Records: 20, Size: 64})
		if err != nil || done != 20 {
			t.Fatalf("%d of 20 found space, %v", done, err)
		}
		s.drain()
	}
	// A record that finds no space has what waits published.
	for range 2 {
		if _, err := loop.Produce(s.produce, loop.Burst{Records: 200, Size: 64}); err != nil {
			t.Fatal(err)
		}
		if n := s.drain(); n == 0 {
			t.Error("there is no space, and nothing to read")
		}
	}
}

// The timer leaves slots alone that have nothing to publish, and says how far
// their time has come. Two processors, so that it runs beside a producer.
func TestTimerInTheWay(t *testing.T) {
	needBPF(t)
	s := shareTimed(t, 64<<10, bpf.Options{Batch: 1, Flush: 10 * time.Microsecond})
	for n := range 200_000 {
		if n%1000 == 0 {
			stayOn(n / 1000)
			s.doze(t)
		}
		done, err := loop.Produce(s.produce, loop.Burst{Records: 1, Size: 64})
		if err != nil || done != 1 {
			t.Fatalf("record %d: %d produced, %v", n, done, err)
		}
		s.drain()
	}
	ticks := ticksOf(s.state(t))
	if st, err := s.Stats(); err != nil || st.ToUser.Drops != 0 || ticks == 0 {
		t.Errorf("%d ticks, %+v, %v", ticks, st, err)
	}
}

// A ring whose processor is silent says so, by its watermark, while another
// one's records come.
func TestWatermark(t *testing.T) {
	needBPF(t)
	s := shareTimed(t, 64<<10, bpf.Options{})
	begun := clock(t)
	for i := range s.read {
		mark := word(s.buf.Bytes(), s.from.Offset+i*s.from.Stride()+136)
		for deadline := time.Now().Add(time.Minute); mark.Load() < begun; {
			if s.doze(t); time.Now().After(deadline) {
				t.Fatalf("ring %d says nothing", i)
			}
			s.drain()
		}
		if now := clock(t); mark.Load() > now {
			t.Errorf("ring %d promises %d at %d", i, mark.Load(), now)
		}
	}
}

// clock is what programs call the time.
func clock(t testing.TB) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano())
}
