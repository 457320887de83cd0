// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"sync"

	"kshm/kshmtest"
)

// driver is the kernel side: it keeps one shared buffer and turns the text in
// it to upper case when the program asks.
type driver struct {
	say func(step int, format string, args ...any)

	mu    sync.Mutex // held around every use of base
	share *kshmtest.IRP
	base  []byte
}

// DriverControl is the dispatch routine of IRP_MJ_DEVICE_CONTROL.
func (d *driver) DriverControl(irp *kshmtest.IRP) kshmtest.Status {
	switch irp.Code {
	case kshmtest.CodeShare:
		return d.take(irp)
	case kshmtest.CodeKick:
		return d.work(irp)
	case kshmtest.CodeDone:
		if !d.end(kshmtest.StatusSuccess) {
			return irp.Complete(kshmtest.StatusNotFound)
		}
		d.say(7, "completes DONE")
		return irp.Complete(kshmtest.StatusSuccess)
	}
	return irp.Complete(kshmtest.StatusInvalidDeviceRequest)
}

// take maps the memory and keeps the request: the share is the pended IRP.
func (d *driver) take(irp *kshmtest.IRP) kshmtest.Status {
	base, err := irp.MDL.MapToSystemSpace()
	if err != nil {
		return irp.Complete(kshmtest.StatusInsufficientResources)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.share != nil {
		return irp.Complete(kshmtest.StatusDeviceBusy)
	}
	pending := irp.Pend()
	irp.SetCancelRoutine(d.cancel)
	if irp.Cancelled() && irp.SetCancelRoutine(nil) != nil {
		irp.Complete(kshmtest.StatusCancelled) // it came before the routine
		return pending
	}
	d.share, d.base = irp, base
	d.say(4, "maps %d bytes, sets a cancel routine, returns STATUS_PENDING", len(base))
	return pending
}

// work uses the shared bytes where they lie.
func (d *driver) work(irp *kshmtest.IRP) kshmtest.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.share == nil {
		return irp.Complete(kshmtest.StatusFileClosed)
	}
	text, _, _ := bytes.Cut(d.base, []byte{0})
	d.say(5, "reads %q, writes it back in upper case", text)
	copy(d.base, bytes.ToUpper(text))
	d.say(9, "sets the event")
	d.share.Event.Set()
	return irp.Complete(kshmtest.StatusSuccess)
}

// end completes the pended request, unless a cancellation is about to. The
// lock drains the driver's use of the memory.
func (d *driver) end(status kshmtest.Status) bool {
	d.mu.Lock()
	irp := d.share
	if irp == nil || irp.SetCancelRoutine(nil) == nil {
		d.mu.Unlock()
		return false
	}
	d.share, d.base = nil, nil
	d.mu.Unlock()
	d.say(7, "completes SHARE with %v", status)
	irp.Complete(status)
	return true
}

// cancel covers a program that ends abnormally.
func (d *driver) cancel(irp *kshmtest.IRP) {
	d.mu.Lock()
	d.share, d.base = nil, nil
	d.mu.Unlock()
	d.say(8, "cancel routine: completes SHARE with %v", kshmtest.StatusCancelled)
	irp.Complete(kshmtest.StatusCancelled)
}

// DriverCleanup covers a program that closes its handle without DONE.
func (d *driver) DriverCleanup(*kshmtest.File) { d.end(kshmtest.StatusFileClosed) }
