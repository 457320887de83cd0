// SPDX-License-Identifier: MIT

package kshmtest

import (
	"sync"

	"kshm"
)

// Kit is a Driver that does the recipe for its author: pending, cancellation,
// cleanup, the death of the program, removal, draining. Its callbacks are those
// of kshm's kits for real kernels; all are optional. A Kit serves one Device.
type Kit struct {
	// Share looks at a new share. A failure refuses it, and Stop is not called.
	Share func(*Share) Status
	// Kick: the program has something to do. It runs concurrently with itself
	// and has returned before Stop is called.
	Kick func(*Share)
	// Stop: the share ends, and why. It is called once; when it has returned
	// and every Enter has met its Exit, the memory is gone.
	Stop func(*Share, kshm.Reason)
	// Control serves the driver's own codes: it fills out and says how far.
	Control func(code kshm.ControlCode, in, out []byte) (int, Status)

	mu      sync.Mutex
	removed bool
	shares  map[uint64]*Share
}

// Share is the driver's side of a share.
type Share struct {
	Base     []byte // the shared bytes at the kernel's address
	Cookie   uint64 // the program's own name for the share
	ReadOnly bool   // a store through Base faults
	Context  any    // the driver's own

	kit   *Kit
	irp   *IRP
	calls Rundown // of Kick
	users Rundown // of Enter
	ended chan struct{}

	// Under the kit's lock.
	ready  bool // pended
	reason kshm.Reason
}

// Enter brackets a use of Base outside the callbacks. It fails once the share
// has begun to end; the end waits for every bracket.
func (s *Share) Enter() bool { return s.users.Acquire() }

// Exit ends a bracket.
func (s *Share) Exit() { s.users.Release() }

// Ending says whether the share has begun to end: long work should stop.
func (s *Share) Ending() bool {
	s.kit.mu.Lock()
	defer s.kit.mu.Unlock()
	return s.reason != kshm.Live
}

// Notify raises an event for the program. It never waits.
func (s *Share) Notify() { s.irp.Event.Set() }

// Revoke ends the share, later. It may be called from anywhere.
func (s *Share) Revoke() { s.end(kshm.EndRevoked) }

// Corrupt ends the share because the shared word at offset is broken; why is
// the driver's number for what was wrong.
func (s *Share) Corrupt(offset uint64, why uint32) {
	s.irp.setCorrupt(offset, why)
	s.end(kshm.EndCorrupt)
}

// DriverControl dispatches a request.
func (k *Kit) DriverControl(irp *IRP) Status {
	switch irp.Code {
	case CodeShare, CodeShareRead:
		return k.share(irp)
	case CodeKick:
		return k.kick(irp)
	case CodeDone:
		return k.done(irp)
	}
	if k.Control == nil {
		return irp.Complete(StatusInvalidDeviceRequest)
	}
	n, status := k.Control(irp.Code, irp.In, irp.Out)
	irp.Information = n
	return irp.Complete(status)
}

// share takes a SHARE request: map, ask the driver, pend.
func (k *Kit) share(irp *IRP) Status {
	base, err := irp.MDL.MapToSystemSpace()
	if err != nil {
		return irp.Complete(StatusInsufficientResources)
	}
	s := &Share{Base: base, Cookie: irp.Options.Cookie, ReadOnly: irp.Options.ReadOnly,
		kit: k, irp: irp, ended: make(chan struct{})}
	if k.Share != nil {
		if status := k.Share(s); status.Failed() {
			return irp.Complete(status)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shares == nil {
		k.shares = make(map[uint64]*Share)
	}
	k.shares[irp.Share] = s
	pending := irp.Pend()
	irp.SetCancelRoutine(func(*IRP) { s.end(kshm.EndCancelled) })
	s.ready = true
	why := s.reason // ended before it was pended
	switch {
	case why != kshm.Live:
	case k.removed:
		why = kshm.EndGone
	case irp.Cancelled():
		why = kshm.EndCancelled
	case irp.File.Closing():
		why = kshm.EndClosed
	}
	if why != kshm.Live && irp.SetCancelRoutine(nil) != nil {
		s.decide(why)
	}
	return pending
}

// end is for whoever wants the share to end. The first one wins.
func (s *Share) end(why kshm.Reason) {
	s.kit.mu.Lock()
	defer s.kit.mu.Unlock()
	switch {
	case s.reason != kshm.Live:
	case !s.ready:
		s.reason = why
	case why == kshm.EndCancelled, s.irp.SetCancelRoutine(nil) != nil:
		s.decide(why)
	default: // a cancellation has taken the routine, which will be here next
	}
}

// decide shuts the doors; what may wait is done elsewhere, since this may be
// a cancel routine.
func (s *Share) decide(why kshm.Reason) {
	s.reason = why
	s.calls.Close()
	s.users.Close()
	go s.finish()
}

// finish drains the driver's use, then completes the pended request.
func (s *Share) finish() {
	k := s.kit
	s.calls.Wait()
	if k.Stop != nil {
		k.Stop(s, s.reason)
	}
	s.users.Wait()
	s.irp.Complete(reasonStatus[s.reason])
	k.mu.Lock()
	delete(k.shares, s.irp.Share)
	k.mu.Unlock()
	close(s.ended)
}

func (k *Kit) find(irp *IRP) *Share {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.shares[irp.Share]; s != nil && s.irp.File == irp.File {
		return s
	}
	return nil
}

func (k *Kit) kick(irp *IRP) Status {
	s := k.find(irp)
	if s == nil || !s.calls.Acquire() {
		return irp.Complete(StatusFileClosed)
	}
	defer s.calls.Release()
	if k.Kick != nil {
		k.Kick(s)
	}
	return irp.Complete(StatusSuccess)
}

// done ends the share, and is completed itself when the share has been.
func (k *Kit) done(irp *IRP) Status {
	s := k.find(irp)
	if s == nil {
		return irp.Complete(StatusNotFound)
	}
	pending := irp.Pend()
	s.end(kshm.EndDone)
	go func() {
		<-s.ended
		irp.Complete(StatusSuccess)
	}()
	return pending
}

// endAll ends the shares of one open, or of all with nil, and waits for them.
func (k *Kit) endAll(f *File, why kshm.Reason) {
	k.mu.Lock()
	var ending []*Share
	for _, s := range k.shares {
		if f == nil || s.irp.File == f {
			ending = append(ending, s)
		}
	}
	k.mu.Unlock()
	for _, s := range ending {
		s.end(why)
	}
	for _, s := range ending {
		<-s.ended
	}
}

// DriverCleanup ends the shares of a program that has closed its handle.
func (k *Kit) DriverCleanup(f *File) { k.endAll(f, kshm.EndClosed) }

// DriverExit ends the shares of a program that has died.
func (k *Kit) DriverExit(f *File) { k.endAll(f, kshm.EndExit) }

// DriverRemove ends all shares and refuses new ones.
func (k *Kit) DriverRemove() {
	k.mu.Lock()
	k.removed = true
	k.mu.Unlock()
	k.endAll(nil, kshm.EndGone)
}

func (k *Kit) features() kshm.Features {
	f := kshm.FeatureShareRead
	if k.Control != nil {
		f |= kshm.FeatureControl
	}
	return f
}
