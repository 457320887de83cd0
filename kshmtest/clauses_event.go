// SPDX-License-Identifier: MIT

package kshmtest

import (
	"context"
	"time"

	"kshm"
)

// waitMore waits for more than seen events.
func (w *work) waitMore(seen uint64) uint64 {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := w.share.Wait(ctx, seen)
	w.ok(err)
	if n <= seen {
		w.Fatalf("Wait returned %d events, not more than %d", n, seen)
	}
	return n
}

// eventsNeverLost: whoever passes on what the last Wait returned hears of
// every event, at whatever moment it comes.
func eventsNeverLost(b *bench) {
	w := b.share(b.device())
	var seen uint64
	for range 300 {
		w.ask()
		seen = w.waitMore(seen)
	}
}

// hundredWaiters: all of a hundred waiters hear of an event; a waiter that
// gives up disturbs no other.
func hundredWaiters(b *bench) {
	w := b.share(b.device())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	one, giveUp := context.WithCancel(ctx)
	type result struct {
		n   uint64
		err error
	}
	first, others := make(chan result, 1), make(chan result, 99)
	wait := func(ctx context.Context, to chan result) {
		n, err := w.share.Wait(ctx, 0)
		to <- result{n, err}
	}
	for range 50 {
		go wait(ctx, others)
	}
	go wait(one, first)
	for range 49 {
		go wait(ctx, others)
	}
	giveUp()
	b.mustBe("the waiter that gave up", (<-first).err, context.Canceled)
	select {
	case r := <-others:
		b.Fatalf("another waiter left too: %d, %v", r.n, r.err)
	default:
	}
	w.ask()
	for range 99 {
		if r := <-others; r.err != nil || r.n == 0 {
			b.Fatalf("a waiter that stayed: %d events, %v", r.n, r.err)
		}
	}
	w.answered()
}

// waitContext: a wait ends with its context, and an unseen event comes first.
func waitContext(b *bench) {
	w := b.share(b.device())
	short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := w.share.Wait(short, 0)
	b.mustBe("a wait past its deadline", err, context.DeadlineExceeded)
	w.ask()
	w.waitMore(0)
	n, err := w.share.Wait(short, 0)
	if err != nil || n == 0 {
		b.Errorf("an unseen event with a dead context: %d, %v", n, err)
	}
	w.answered()
}

// eventsOutlive: events that nobody has seen are there after the end.
func eventsOutlive(b *bench) {
	w := b.share(b.device())
	w.round()
	n := w.waitMore(0)
	b.ok(w.share.Close())
	got, err := w.share.Wait(context.Background(), 0)
	if err != nil || got < n {
		b.Errorf("Wait(0) after the end: %d, %v; there were %d events", got, err, n)
	}
	_, err = w.share.Wait(context.Background(), got)
	b.mustBe("Wait for more after the end", err, kshm.ErrClosed)
}

// statsTruthful: the kernel's counters count what happened.
func statsTruthful(b *bench) {
	be := b.device()
	w := b.share(be)
	const rounds = 5
	for range rounds {
		w.round()
	}
	events := w.waitMore(rounds - 1)
	check := func(when string, live bool) {
		b.Helper()
		st, err := w.share.Stats()
		b.ok(err)
		if st.Kicks != rounds || st.Events < events || st.Events < rounds || st.Wakes > st.Events ||
			st.Length != uint64(be.Size) || st.ReadOnly || st.PinTime < 0 || st.MapTime < 0 {
			b.Errorf("%s, after %d kicks and %d events: %+v", when, rounds, events, st)
		}
		if live && (st.Reason != kshm.Live || st.Pinned < uint64(be.Size)) {
			b.Errorf("%s: %v, %d bytes pinned", when, st.Reason, st.Pinned)
		}
		if !live && (st.Reason != kshm.EndDone || st.Pinned != 0) {
			b.Errorf("%s: %v, %d bytes pinned", when, st.Reason, st.Pinned)
		}
	}
	check("while it lives", true)
	b.ok(w.share.Close())
	check("after Close", false)
}
