// SPDX-License-Identifier: MIT

package kshmtest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"kshm"
)

// openOn opens a device for Conformance with all that the model can do.
func openOn(t testing.TB, d *Device, adapter func(*kshm.Device) *Backend) *Backend {
	t.Helper()
	ctx, exit := context.WithCancel(context.Background())
	dev, err := d.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b := adapter(dev)
	b.Pinned = func() (uint64, error) { return d.Pinned(), nil }
	b.Exit = exit
	b.Remove = func() error { d.Remove(); return nil }
	b.Foreign = goHeap
	b.Children = true
	return b
}

// goHeap is memory that the model cannot map: a page-aligned part of the heap.
func goHeap(t testing.TB) []byte {
	mem := make([]byte, 1<<20)
	for off := range mem {
		if buf, err := kshm.Wrap(mem[off : off+64<<10]); err == nil {
			return buf.Bytes()
		}
	}
	t.Fatal("no page in a megabyte")
	return nil
}

func TestConformanceDigest(t *testing.T) {
	Conformance(t, func(t testing.TB) *Backend {
		kit := newDigestKit()
		d := NewDevice(kit, &Options{Info: kshm.Info{Driver: "digest", MinLength: digestData + 1, MaxLength: 1 << 20}})
		b := openOn(t, d, DigestBackend)
		b.Revoke = revokeLatest(kit)
		return b
	})
}

// revokeLatest is the Revoke of a Kit.
func revokeLatest(k *Kit) func(*kshm.Share) error {
	return func(*kshm.Share) error {
		k.mu.Lock()
		var latest *Share
		for _, s := range k.shares {
			if latest == nil || s.irp.Share > latest.irp.Share {
				latest = s
			}
		}
		k.mu.Unlock()
		if latest == nil {
			return kshm.ErrClosed
		}
		latest.Revoke()
		return nil
	}
}

// echoWords is the protocol of the two drivers below.
type echoWords struct {
	request atomic.Uint32
	_       [124]byte
	reply   atomic.Uint32
}

func echoView(mem []byte) *echoWords {
	w, err := kshm.View[echoWords](mem, 0)
	if err != nil {
		panic(err)
	}
	return w
}

func echoBackend(dev *kshm.Device) *Backend {
	return &Backend{Device: dev,
		Ask: func(mem []byte, n uint64) { echoView(mem).request.Store(uint32(n)) },
		Answered: func(mem []byte, n uint64) error {
			if got := echoView(mem).reply.Load(); got != uint32(n) {
				return fmt.Errorf("reply %d, want %d", got, n)
			}
			return nil
		}}
}

func echo(base []byte) bool {
	w := echoView(base)
	request := w.request.Load()
	return w.reply.Swap(request) != request
}

// TestConformancePoller: a driver with a thread of its own that works on the
// memory all the time, inside brackets.
func TestConformancePoller(t *testing.T) {
	Conformance(t, func(t testing.TB) *Backend {
		kit := &Kit{Share: func(s *Share) Status {
			if s.ReadOnly {
				return StatusNotSupported
			}
			go func() {
				for s.Enter() {
					if echo(s.Base) {
						s.Notify()
					}
					s.Exit()
					runtime.Gosched()
				}
			}()
			return StatusSuccess
		}}
		d := NewDevice(kit, &Options{Info: kshm.Info{MinLength: 132}})
		b := openOn(t, d, echoBackend)
		b.Revoke = revokeLatest(kit)
		b.Polls = true
		return b
	})
}

// bare is a driver without the kit: one lock, the recipe by hand, no cover for
// removal.
type bare struct {
	mu     sync.Mutex
	shares map[uint64]bareShare
}

type bareShare struct {
	irp  *IRP
	base []byte
}

func (d *bare) DriverControl(irp *IRP) Status {
	switch irp.Code {
	case CodeShare:
		return d.share(irp)
	case CodeKick:
		d.mu.Lock()
		s, ok := d.shares[irp.Share]
		if ok && echo(s.base) {
			s.irp.Event.Set()
		}
		d.mu.Unlock()
		if !ok {
			return irp.Complete(StatusFileClosed)
		}
		return irp.Complete(StatusSuccess)
	case CodeDone:
		if !d.end(irp.Share, StatusSuccess) {
			return irp.Complete(StatusNotFound)
		}
		return irp.Complete(StatusSuccess)
	}
	return irp.Complete(StatusInvalidDeviceRequest)
}

func (d *bare) share(irp *IRP) Status {
	base, err := irp.MDL.MapToSystemSpace()
	if err != nil {
		return irp.Complete(StatusInsufficientResources)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	status := irp.Pend()
	irp.SetCancelRoutine(d.cancel)
	if (irp.Cancelled() || irp.File.Closing()) && irp.SetCancelRoutine(nil) != nil {
		irp.Complete(StatusCancelled)
		return status
	}
	d.shares[irp.Share] = bareShare{irp, base}
	return status
}

func (d *bare) cancel(irp *IRP) {
	d.mu.Lock()
	delete(d.shares, irp.Share)
	d.mu.Unlock()
	irp.Complete(StatusCancelled)
}

// end completes a share that nobody has cancelled. The memory is used with the
// lock held only, so that taking the share off the table drains its use.
func (d *bare) end(n uint64, status Status) bool {
	d.mu.Lock()
	s, ok := d.shares[n]
	ok = ok && s.irp.SetCancelRoutine(nil) != nil
	if ok {
		delete(d.shares, n)
	}
	d.mu.Unlock()
	if ok {
		s.irp.Complete(status)
	}
	return ok
}

func (d *bare) DriverExit(f *File) {
	d.mu.Lock()
	var mine []uint64
	for n, s := range d.shares {
		if s.irp.File == f {
			mine = append(mine, n)
		}
	}
	d.mu.Unlock()
	for _, n := range mine {
		d.end(n, StatusProcessIsTerminating)
	}
}

func TestConformanceBare(t *testing.T) {
	Conformance(t, func(t testing.TB) *Backend {
		d := NewDevice(&bare{shares: make(map[uint64]bareShare)}, &Options{Info: kshm.Info{MinLength: 132, MaxOpenShares: 3}})
		b := openOn(t, d, echoBackend)
		b.Remove, b.Foreign, b.Children = nil, nil, false
		return b
	})
}
