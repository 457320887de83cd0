// SPDX-License-Identifier: MIT

package kshmtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"kshm"
	"kshm/internal/abi"
	"kshm/internal/sys"
)

// transport is the model as package kshm sees it: what the program's calls
// become at the I/O manager.
type transport struct{ file *File }

func (t *transport) Info() kshm.Info { return t.file.device.info }

func (t *transport) Alloc(size int, o kshm.AllocOptions) ([]byte, func() error, error) {
	return allocate(size, o)
}

func (t *transport) Share(mem []byte, o kshm.ShareOptions) (kshm.Session, error) {
	if err := t.judge(mem, o); err != nil {
		return nil, err
	}
	irp := &IRP{Code: CodeShare, Options: o, Event: newEvent()}
	if o.ReadOnly {
		irp.Code = CodeShareRead
	}
	begin := time.Now()
	mdl, err := probeAndLock(mem, !o.ReadOnly)
	if err != nil {
		return nil, err
	}
	irp.MDL = mdl
	locked := time.Now()
	t.file.device.trace("%#08x: locks %d bytes, describes them in an MDL", uint32(irp.Code), len(mem))
	status, err := t.file.send(irp)
	if err != nil {
		mdl.unlock()
		return nil, err
	}
	if status != StatusPending {
		if err := status.err(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: the driver completed the SHARE request at once, with %w", kshm.ErrNotSupported, status)
	}
	return &session{irp: irp, pinTime: locked.Sub(begin), mapTime: time.Since(locked)}, nil
}

// judge refuses what no driver needs to see.
func (t *transport) judge(mem []byte, o kshm.ShareOptions) error {
	info := &t.file.device.info
	n := uint64(len(mem))
	switch {
	case len(o.Rings) > abi.RingGroups:
		return fmt.Errorf("%w: %d ring groups, at most %d", kshm.ErrInvalid, len(o.Rings), abi.RingGroups)
	case len(o.Rings) > 0 && info.Features&kshm.FeatureRings == 0:
		return fmt.Errorf("%w: rings", kshm.ErrNotSupported)
	case o.ReadOnly && info.Features&kshm.FeatureShareRead == 0:
		return fmt.Errorf("%w: read-only shares", kshm.ErrNotSupported)
	case o.Event != 0:
		return fmt.Errorf("%w: the model has no event handles", kshm.ErrInvalid)
	case n < info.MinLength || n > info.MaxLength:
		return fmt.Errorf("%w: %d bytes, the driver takes %d to %d", kshm.ErrRange, n, info.MinLength, info.MaxLength)
	}
	return nil
}

func (t *transport) Control(ctx context.Context, code kshm.ControlCode, in, out []byte) (int, error) {
	switch code {
	case CodeShare, CodeShareRead, CodeDone, CodeKick:
		return 0, fmt.Errorf("%w: %v is not for Control", kshm.ErrInvalid, code)
	}
	if len(in) > abi.ControlMax || len(out) > abi.ControlMax {
		return 0, fmt.Errorf("%w: more than %d bytes", kshm.ErrRange, abi.ControlMax)
	}
	irp := &IRP{Code: code, In: append([]byte(nil), in...), Out: make([]byte, len(out))}
	if _, err := t.file.send(irp); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { irp.Cancel() })
	status := irp.wait()
	if !stop() && status == StatusCancelled {
		return 0, ctx.Err()
	}
	if err := status.err(); err != nil {
		return 0, err
	}
	return copy(out, irp.Out[:irp.Information]), nil
}

func (t *transport) Close() error {
	t.file.close()
	return nil
}

// session is a pended SHARE request.
type session struct {
	irp              *IRP
	kicks            atomic.Uint64
	pinTime, mapTime time.Duration
}

func (s *session) Kick() error {
	status, err := s.irp.File.call(&IRP{Code: CodeKick, Share: s.irp.Share})
	switch {
	case s.irp.ended(), status == StatusFileClosed, errors.Is(err, kshm.ErrClosed):
		return sys.ErrEnded // has ended or is about to; the request will say why
	case err != nil:
		return err
	case status.Failed():
		return status.err()
	}
	s.kicks.Add(1)
	return nil
}

func (s *session) Pump(wake func(events uint64)) error {
	var seen uint64
	look := func() {
		if n, _ := s.irp.Event.counts(); n > seen {
			seen = n
			wake(n)
		}
	}
	for {
		select {
		case <-s.irp.Event.ring:
			look()
		case <-s.irp.done:
			look()
			return s.irp.status.reason().Err()
		}
	}
}

// End sends DONE and waits for it and for the SHARE request. A share that the
// driver does not end so is cancelled.
func (s *session) End() error {
	if s.irp.ended() {
		return nil // the collector may call this, outside of the share's bubble
	}
	status, err := s.irp.File.call(&IRP{Code: CodeDone, Share: s.irp.Share})
	if err == nil {
		err = status.err()
	}
	if err != nil && !s.irp.ended() && s.irp.Cancel() {
		s.irp.wait()
		return err
	}
	s.irp.wait()
	return nil
}

func (s *session) Stats() (kshm.Stats, error) {
	events, wakes := s.irp.Event.counts()
	st := kshm.Stats{
		ReadOnly: s.irp.Options.ReadOnly, Length: uint64(s.irp.MDL.length),
		Kicks: s.kicks.Load(), Events: events, Wakes: wakes,
		PinTime: s.pinTime, MapTime: s.mapTime,
	}
	if s.irp.ended() {
		st.Reason = s.irp.status.reason()
		if st.Reason == kshm.EndCorrupt {
			c := s.irp.getCorrupt()
			st.CorruptOffset, st.CorruptWhy = c.offset, c.why
		}
	} else {
		st.Pinned = st.Length
	}
	return st, nil
}

func (s *session) Close() error { return nil }
