// SPDX-License-Identifier: MIT

package kshm

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"kshm/internal/sys"
)

// Share is a buffer in the hands of a driver, from Device.Share until Done. It
// is safe for concurrent use. A share that is dropped without Close is ended
// by the runtime, at some time; its buffer is not freed.
type Share struct{ *shareState }

// shareState is what the pump holds on to, so that a dropped Share can be seen.
type shareState struct {
	device  *Device
	buffer  *Buffer
	session Session
	endOnce sync.Once
	endErr  error
	done    chan struct{}

	events atomic.Uint64

	mu      sync.Mutex
	waiters chan struct{} // closed at the next event; nil when nobody waits
	err     error         // why the share ended; set before done is closed
	final   *Stats        // the kernel's last word, once the session is closed
}

func newShare(st *shareState) *Share {
	s := &Share{st}
	runtime.AddCleanup(s, func(st *shareState) { go st.end() }, st)
	return s
}

// pump carries events from the kernel to the waiters until the share ends.
func (st *shareState) pump() {
	why := st.session.Pump(st.wake)
	if why == nil {
		why = ErrClosed
	}
	// The buffer is free before anybody can hear of the end.
	st.buffer.release()
	st.device.forget(st)
	st.mu.Lock()
	st.err = why
	close(st.done)
	st.mu.Unlock()
}

func (st *shareState) wake(events uint64) {
	st.events.Store(events)
	st.mu.Lock()
	waiters := st.waiters
	st.waiters = nil
	st.mu.Unlock()
	if waiters != nil {
		close(waiters)
	}
}

// end says DONE, waits for the pump and frees the session, once.
func (st *shareState) end() error {
	st.endOnce.Do(func() {
		st.endErr = st.session.End()
		// The collector may come here outside of a synctest bubble, in which
		// the channel was made: it is left alone once the share has ended.
		if st.why() == nil {
			<-st.done
		}
		if stats, err := st.session.Stats(); err == nil {
			st.mu.Lock()
			st.final = &stats
			st.mu.Unlock()
		}
		if err := st.session.Close(); st.endErr == nil {
			st.endErr = err
		}
	})
	return st.endErr
}

// Kick tells the driver that there is something to do. It may wait for the
// driver, which serves it in this call.
//
// Errors: why the share ended, as Err; or the driver's own.
func (s *Share) Kick() error {
	if err := s.Err(); err != nil {
		return opError("kick", s.device.name, err)
	}
	err := s.session.Kick()
	if errors.Is(err, sys.ErrEnded) {
		<-s.done // the kernel has ended it, so the pump will say why
		err = s.Err()
	}
	return opError("kick", s.device.name, err)
}

// Events is how many events the driver has raised, as far as this process has
// heard. It makes no system call.
func (s *Share) Events() uint64 { return s.events.Load() }

// Wait returns the number of events once it exceeds seen. Any number of
// goroutines may wait, each with its own seen and ctx, and none holds a
// thread. An event is never lost: pass what the last Wait returned.
//
// Errors: ctx.Err(), or why the share ended, once no more events are unseen.
func (s *Share) Wait(ctx context.Context, seen uint64) (uint64, error) {
	for {
		s.mu.Lock()
		if n := s.events.Load(); n > seen {
			s.mu.Unlock()
			return n, nil
		}
		if s.waiters == nil {
			s.waiters = make(chan struct{})
		}
		waiters, ended := s.waiters, s.err
		s.mu.Unlock()
		if ended != nil {
			return s.events.Load(), opError("wait", s.device.name, ended)
		}
		select {
		case <-waiters:
		case <-s.done:
		case <-ctx.Done():
			return s.events.Load(), opError("wait", s.device.name, ctx.Err())
		}
	}
}

// Done is closed when the share has ended, whoever ended it; the kernel has
// then let go of the memory.
func (s *Share) Done() <-chan struct{} { return s.done }

// Err is nil while the share lives and says afterwards why it ended: ErrClosed
// (by Close), ErrRevoked, ErrGone, ErrCorrupt, ErrCancelled or ErrOrphaned.
func (s *Share) Err() error { return s.why() }

func (st *shareState) why() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.err
}

// Stats reads the kernel's counters of the share; after Close, their last
// values.
func (s *Share) Stats() (Stats, error) {
	if final := s.lastWord(); final != nil {
		return *final, nil
	}
	stats, err := s.session.Stats()
	if final := s.lastWord(); err != nil && final != nil {
		return *final, nil // Close came in between
	}
	return stats, opError("stats", s.device.name, err)
}

func (st *shareState) lastWord() *Stats {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.final
}

// Close ends the share: it says DONE and returns when the driver has stopped
// and the kernel holds no pin, no mapping and no pointer. It is idempotent,
// and succeeds on a share that has ended for another reason; Err keeps that.
func (s *Share) Close() error {
	return opError("close", s.device.name, s.end())
}
