// SPDX-License-Identifier: MIT

package ring

import (
	"context"
	"runtime"
	"sort"
	"sync"
	"time"
)

// waiter is what a side waits for.
type waiter interface{ ready(need uint64) bool }

// park blocks until w is ready: it spins, then arms, looks again, and sleeps
// on the doorbell. The count of events is taken before arming, so that a ring
// of the other side after it is never missed.
func (s *side) park(ctx context.Context, w waiter, need uint64) error {
	if w.ready(need) || s.spin.until(w, need) {
		return nil
	}
	if s.corrupt != nil {
		return s.corrupt
	}
	if s.bell == nil {
		return ErrNoDoorbell
	}
	s.publishCounters()
	start := time.Now()
	for {
		seen := s.bell.Events()
		s.arm()
		if w.ready(need) {
			s.disarm()
			break
		}
		_, err := s.bell.Wait(ctx, seen)
		s.disarm()
		s.counters.Sleeps++
		if w.ready(need) {
			break
		}
		s.counters.Spurious++
		if s.corrupt != nil {
			return s.corrupt
		}
		if err != nil {
			return err
		}
	}
	s.counters.Stall = max(s.counters.Stall, time.Since(start))
	return nil
}

// spinner decides how long to look before sleeping. As long as looking helps
// it looks for about the time that a sleep costs, which is at most twice the
// best that can be done; each time that it did not help it halves its patience.
type spinner struct {
	most, now int // looks
}

func newSpinner() spinner {
	n := spins()
	return spinner{most: n, now: n}
}

func (s *spinner) until(w waiter, need uint64) bool {
	for range s.now {
		if w.ready(need) {
			s.now = s.most
			return true
		}
	}
	s.now = max(s.now/2, s.most/16)
	return false
}

// spins is how many looks take as long as a goroutine's sleep and wake-up on
// this machine, measured once. On one processor it is no use to look. There is
// a limit for clocks that stand still, as in a bubble of testing/synctest.
var spins = sync.OnceValue(func() int {
	if runtime.GOMAXPROCS(0) < 2 {
		return 0
	}
	const limit = 1 << 16
	looks := 0
	budget := min(max(handOff(), 2*time.Microsecond), 50*time.Microsecond)
	probe := never{}
	for start := time.Now(); looks < limit && time.Since(start) < budget; looks += 64 {
		look := spinner{now: 64}
		look.until(&probe, 0)
	}
	return looks
})

// handOff is the median time from a goroutine's wake-up of a sleeping one to
// that one's answer, halved.
func handOff() time.Duration {
	there, back := make(chan struct{}), make(chan struct{})
	go func() {
		for range there {
			back <- struct{}{}
		}
	}()
	took := make([]time.Duration, 9)
	for i := range took {
		start := time.Now()
		there <- struct{}{}
		<-back
		took[i] = time.Since(start) / 2
	}
	close(there)
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	return took[len(took)/2]
}

// never stands for a ring that stays as it is. It is as dear to look at: one
// call through an interface and one load.
type never struct{ word uint64 }

func (n *never) ready(need uint64) bool { return n.word > need }
