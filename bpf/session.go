// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"kshm"
	"kshm/internal/sys"
	"kshm/ring"
)

// session is one share: an instance whose programs may use the memory.
type session struct {
	t    *transport
	in   *instance
	g    *geometry
	bell *doorbell

	kicks   sync.RWMutex // held by kicks; by the end, for writing
	endOnce sync.Once
	endErr  error
	reason  kshm.Reason // set by the end

	mu    sync.Mutex
	final *account
}

// account is the kernel's word on a share.
type account struct {
	state
	toKernel, toUser ring.Counters
}

// begin makes the share in the kernel. Hooks are attached before programs may
// begin, so that either all of them count or none does.
func (t *transport) begin(in *instance, mem []byte, g *geometry, cookie uint64) (*session, error) {
	for _, group := range g.groups {
		if err := ring.Format(mem, group); err != nil {
			return nil, err
		}
	}
	bell, err := openDoorbell(in.Maps[doorbellMap])
	if err != nil {
		return nil, err
	}
	s := &session{t: t, in: in, g: g, bell: bell}
	steps := []command{{Op: opShare, Base: sys.AddressOf(mem), Length: uint64(len(mem)), Cookie: cookie}}
	for _, o := range g.outputs {
		steps = append(steps, command{Op: opOutput, Index: uint32(o.slot), Offset: uint64(o.offset), Capacity: uint32(o.capacity)})
	}
	for i, p := range g.inputs {
		steps = append(steps, command{Op: opInput, Index: uint32(i), Offset: uint64(p.offset), Capacity: uint32(p.capacity)})
	}
	for _, step := range steps {
		if err = in.run(step); err != nil {
			err = fmt.Errorf("step %d of the share: %w", step.Op, err)
			break
		}
	}
	if err == nil {
		err = t.attach(in)
	}
	if err == nil {
		err = in.run(command{Op: opLive})
	}
	if err != nil {
		s.quiesce()
		bell.close()
		bell.unmap()
		return nil, err
	}
	return s, nil
}

// Kick runs the object's kshm_kick, and again while that could not do all: it
// found its CPU's slots taken, or records that came at the last moment.
func (s *session) Kick() error {
	for pause := time.Duration(0); ; pause = min(2*pause+time.Microsecond, time.Millisecond) {
		if err := s.kick(); !errors.Is(err, syscall.EBUSY) {
			return err
		}
		time.Sleep(pause)
	}
}

func (s *session) kick() error {
	s.kicks.RLock()
	defer s.kicks.RUnlock()
	if s.last() != nil {
		return sys.ErrEnded
	}
	p := s.in.Programs[kickProgram]
	if p == nil {
		return fmt.Errorf("%w: the object has no KSHM_KICK", kshm.ErrNotSupported)
	}
	err := run(p, nil)
	if errors.Is(err, syscall.ESHUTDOWN) {
		return sys.ErrEnded // revoked, which the pump will hear
	}
	return err
}

// Pump sleeps on the doorbell. A program that rings it makes records, so from
// then on they may wait for each other: until the timer finds none.
func (s *session) Pump(wake func(events uint64)) error {
	for {
		err := s.bell.wait()
		if err != nil {
			s.stop(kshm.EndGone) // unless it has ended: nothing will be heard of it any more
			return s.reason.Err()
		}
		now := s.hear()
		wake(now.Events)
		if why := now.ending(); why != 0 {
			s.stop(why)
			return s.reason.Err()
		}
		if now.Ticking == 0 {
			runtime.Gosched() // who was woken goes first
			s.tick()
		}
	}
}

// ending is what the kernel's programs want the share to end for; 0 if they
// do not.
func (s *state) ending() kshm.Reason {
	switch {
	case s.CorruptWhy != 0:
		return kshm.EndCorrupt
	case s.Revoked != 0:
		return kshm.EndRevoked
	}
	return 0
}

// hear reads how many events there have been, and whether all is well.
func (s *session) hear() state {
	s.kicks.RLock()
	defer s.kicks.RUnlock()
	if final := s.last(); final != nil {
		return final.state
	}
	return s.in.state()
}

// tick starts the timer. A share that ends has none.
func (s *session) tick() {
	s.kicks.RLock()
	defer s.kicks.RUnlock()
	if s.last() == nil {
		_ = s.in.run(command{Op: opTick})
	}
}

func (s *session) last() *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final
}

// look reads the kernel's word on the share: its last one after the end.
func (s *session) look() (account, error) {
	s.kicks.RLock()
	defer s.kicks.RUnlock()
	if final := s.last(); final != nil {
		return *final, nil
	}
	return s.account()
}

func (s *session) account() (a account, err error) {
	a.toKernel, a.toUser, err = s.counters()
	a.state = s.in.state()
	return a, err
}

func (s *session) Stats() (kshm.Stats, error) {
	a, err := s.look()
	if err != nil {
		return kshm.Stats{}, err
	}
	stats := kshm.Stats{Length: a.Length, Kicks: a.Kicks, Events: a.Events, Wakes: a.Events - a.Failures,
		CorruptOffset: a.CorruptOffset, CorruptWhy: a.CorruptWhy, ToKernel: a.toKernel, ToUser: a.toUser}
	if s.last() != nil {
		stats.Reason = s.reason
	} else {
		stats.Pinned = a.Length // the arena's pages are not swapped or moved
	}
	return stats, nil
}

func (s *session) End() error { return s.stop(kshm.EndDone) }

func (s *session) Close() error {
	s.bell.unmap()
	return nil
}

// stop ends the share, once.
func (s *session) stop(why kshm.Reason) error {
	s.endOnce.Do(func() {
		s.kicks.Lock()
		defer s.kicks.Unlock()
		err := s.quiesce()
		final, e := s.account()
		s.mu.Lock()
		s.reason, s.final = why, &final
		s.mu.Unlock()
		s.endErr = errors.Join(err, e, s.bell.close(), s.in.close())
		s.t.ended()
	})
	return s.endErr
}

// quiesce returns when no program uses the memory, and none will.
func (s *session) quiesce() error {
	hooks := len(s.in.links) > 0
	errs := []error{s.in.run(command{Op: opStop}), s.in.detach(), ignore(s.in.run(command{Op: opCancel}), syscall.EINVAL)}
	if hooks {
		errs = append(errs, s.in.gracePeriod(s.t.spec)) // all that they had started have returned
	}
	deadline := time.Now().Add(patience)
	for _, o := range s.g.outputs {
		c := command{Op: opTake, Index: uint32(o.slot)}
		errs = append(errs, s.takeBack(c, deadline, fmt.Sprintf("slot %d of CPU %d", o.slot%levels, o.slot/levels)))
	}
	for i := range s.g.inputs {
		c := command{Op: opTakeInput, Index: uint32(i)}
		errs = append(errs, s.takeBack(c, deadline, fmt.Sprintf("ring %d to the kernel", i)))
	}
	return errors.Join(errs...)
}

// patience is how long the end waits for programs that are run by hand, which a
// grace period does not wait for. Where loops have a budget of time, as on 6.18,
// the kernel ends them before; a loop of millions of turns on an older one may
// take longer, and End says so.
var patience = 5 * time.Second

// HeldError says that a program has not given back what it had taken when the
// share ended: it has returned without kshm_exit() or kshm_input_exit(). The
// share has ended all the same.
type HeldError struct {
	What string // "slot 0 of CPU 1"
}

func (e *HeldError) Error() string {
	return "a program of the object still holds " + e.What + ": it has returned without kshm_exit() or kshm_input_exit()"
}

// takeBack waits until whoever holds a slot has left it. Nobody enters, so it
// takes as long as a program that was in the middle of a record.
func (s *session) takeBack(c command, deadline time.Time, what string) error {
	for pause := time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		err := s.in.run(c)
		if !errors.Is(err, syscall.EBUSY) {
			return ignore(err, syscall.EINVAL)
		}
		if time.Now().After(deadline) {
			return &HeldError{what}
		}
		time.Sleep(pause)
	}
}

// ignore is err, unless it is what.
func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}
