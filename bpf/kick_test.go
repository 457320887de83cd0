// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"errors"
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"kshm/bpf"
	"kshm/bpf/live"
	"kshm/ring"
)

var kickRounds = flag.Int("kicks", 1000, "rounds of TestTwoRings")

// echoed is a ring to the kernel with its producer and the words that tell
// whether the kernel has come.
type echoed struct {
	*ring.Producer
	produced, consumed *atomic.Uint64
}

func (s *loopShare) echoed(t testing.TB, index int) echoed {
	t.Helper()
	p, err := ring.NewProducer(s.buf.Bytes(), s.to, index, s.Share)
	if err != nil {
		t.Fatal(err)
	}
	at := s.to.Offset + index*s.to.Stride()
	return echoed{p, word(s.buf.Bytes(), at+128), word(s.buf.Bytes(), at+384)}
}

// settled waits until the kernel has consumed all; nobody kicks for it.
func (e echoed) settled() bool {
	for begun := time.Now(); e.consumed.Load() != e.produced.Load(); {
		if time.Since(begun) > 10*time.Second {
			return false
		}
	}
	return true
}

// stayOn keeps the goroutine on one processor, for good.
func stayOn(cpu int) {
	runtime.LockOSThread()
	var one unix.CPUSet
	one.Set(cpu % runtime.NumCPU())
	_ = unix.SchedSetaffinity(0, &one)
}

// Two programs kick at the same time. One of them finds a ring in the hands of
// the other one, which has looked already: it has to look again.
func TestTwoRings(t *testing.T) {
	needBPF(t)
	s := shareLoops(t, 2, 4096)
	p := [2]echoed{s.echoed(t, 0), s.echoed(t, 1)}
	readers := s.readers(t)
	var round, done atomic.Uint64
	var failed atomic.Pointer[error]
	var other sync.WaitGroup
	t.Cleanup(other.Wait) // before the memory goes
	other.Go(func() {
		stayOn(0)
		for n := uint64(1); t.Context().Err() == nil; n++ {
			for round.Load() < n && t.Context().Err() == nil {
			}
			err := p[0].Write(t.Context(), make([]byte, 8))
			spin(n * 13 % 400)
			if err = errors.Join(err, p[0].Write(t.Context(), make([]byte, 8))); err != nil {
				failed.Store(&err)
			}
			done.Store(n)
		}
	})
	stayOn(1)
	for n := range uint64(*kickRounds) {
		for _, c := range readers {
			for _, ok := c.Next(); ok; _, ok = c.Next() {
				c.Release()
			}
		}
		for i := range readers { // asleep, it seems: the kick takes longer, for it rings
			word(s.buf.Bytes(), s.from.Offset+i*s.from.Stride()+512).Store(2*n + 1)
		}
		round.Store(n + 1)
		spin(n * 7 % 300)
		if err := p[1].Write(t.Context(), make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		for done.Load() <= n {
		}
		if err := failed.Load(); err != nil {
			t.Fatal(*err)
		}
		for i := range p {
			if !p[i].settled() {
				t.Fatalf("round %d, ring %d: nobody comes for the record: %+v", n, i, p[i].Counters())
			}
		}
	}
}

func spin(n uint64) {
	var word atomic.Uint64
	for range n {
		word.Load()
	}
}

// A kick that finds its processor's slot taken, by a program that is preempted
// in the middle, comes again; nothing is lost, so nothing is counted as a drop.
func TestKickWithoutSlot(t *testing.T) {
	needBPF(t)
	var progs [2]*ebpf.Program // hold_take, hold_give
	dev := openObject(t, live.LoadHold, &bpf.Options{Attach: func(c *ebpf.Collection) (_ []link.Link, err error) {
		for i, name := range []string{"hold_take", "hold_give"} {
			if progs[i], err = c.Programs[name].Clone(); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}})
	s := &loopShare{}
	s.share(t, dev, 1, 4096)
	p := s.echoed(t, 0)
	run := func(i int) {
		if result, err := progs[i].Run(nil); err != nil || result != 0 {
			t.Errorf("%v: %d, %v", progs[i], int32(result), err)
		}
	}
	stayOn(0)
	run(0)
	wrote := make(chan error, 1)
	go func() {
		stayOn(0)
		wrote <- p.Write(t.Context(), make([]byte, 8))
	}()
	for s.kicks(t) == 0 {
		time.Sleep(time.Millisecond)
	}
	run(1)
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if !p.settled() {
		t.Error("nobody comes for the record")
	}
	if st, err := s.Stats(); err != nil || st.ToUser.Drops != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	for _, p := range progs {
		p.Close()
	}
}

func (s *loopShare) kicks(t testing.TB) uint64 {
	t.Helper()
	st, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return st.Kicks
}

// All rings that a share may have are looked at.
func TestManyRings(t *testing.T) {
	needBPF(t)
	const most = 64
	s := shareLoops(t, most, 4096)
	for i := range most {
		p := s.echoed(t, i)
		if err := p.Write(t.Context(), make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		if !p.settled() {
			t.Fatalf("nobody comes for the record in ring %d", i)
		}
	}
}
