// SPDX-License-Identifier: MIT

package kshmtest

import (
	"fmt"
	"sync"

	"kshm"
)

// File is a file object: one open of the device, and the process that has it.
type File struct {
	device *Device
	stop   func() bool // of the watch on the process

	mu      sync.Mutex
	closed  bool              // the program has no handle any more
	others  int               // handles of other processes
	pending map[*IRP]struct{} // not yet completed
	shares  uint32            // SHARE requests among them
	idle    chan struct{}     // made by whoever waits until none is pending
	gone    chan struct{}     // closed after CLOSE
}

// start counts a request in, and says whether there is still a handle to send
// it through. A SHARE is charged here, whole or not at all.
func (f *File) start(irp *IRP) error {
	d := f.device
	d.mu.Lock()
	defer d.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return kshm.ErrClosed
	case d.removed && irp.Code != CodeDone:
		return StatusDeviceRemoved.err()
	}
	if irp.MDL != nil {
		n := uint64(irp.MDL.length)
		if f.shares >= d.info.MaxOpenShares || n > d.info.MaxUserBytes-d.pinned {
			return fmt.Errorf("%w: %d shares of this open, %d bytes of the device", StatusQuotaExceeded.err(), f.shares, d.pinned)
		}
		f.shares++
		d.pinned += n
		d.shares++
		irp.Share = d.shares
	}
	f.pending[irp] = struct{}{}
	return nil
}

// finish counts a completed request out.
func (f *File) finish(irp *IRP) {
	d := f.device
	if irp.MDL != nil {
		irp.MDL.unlock()
		d.trace("unmaps the address, unlocks the pages, signals the program")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if irp.MDL != nil {
		f.shares--
		d.pinned -= uint64(irp.MDL.length)
	}
	delete(f.pending, irp)
	if len(f.pending) == 0 && f.idle != nil {
		close(f.idle)
	}
}

// send lets the driver see a request. It has been completed unless the result
// is StatusPending.
func (f *File) send(irp *IRP) (Status, error) {
	irp.File, irp.done = f, make(chan struct{})
	if err := f.start(irp); err != nil {
		return 0, err
	}
	status := f.device.driver.DriverControl(irp)
	irp.check(status)
	return status, nil
}

// call sends a request and waits for its end.
func (f *File) call(irp *IRP) (Status, error) {
	if _, err := f.send(irp); err != nil {
		return 0, err
	}
	return irp.wait(), nil
}

// Closing says whether the program has no handle any more: CLEANUP has run, or
// is about to.
func (f *File) Closing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// Duplicate gives another process a handle, which is closed with the function
// that it returns. CLEANUP comes with the last handle; the exit of the program
// that opened the device does not wait for it.
func (f *File) Duplicate() (closeHandle func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others++
	return sync.OnceFunc(func() {
		f.mu.Lock()
		f.others--
		last := f.closed && f.others == 0
		f.mu.Unlock()
		if last {
			f.cleanup()
		}
	})
}

func (f *File) cancelAll() {
	f.mu.Lock()
	irps := make([]*IRP, 0, len(f.pending))
	for irp := range f.pending {
		irps = append(irps, irp)
	}
	f.mu.Unlock()
	for _, irp := range irps {
		irp.Cancel()
	}
}

// exit is the death of the process, by its last thread. (The requests of other
// threads would have been cancelled before the exit callback.)
func (f *File) exit() {
	first, last := f.shut()
	if !first {
		return
	}
	if e, ok := f.device.driver.(interface{ DriverExit(*File) }); ok {
		e.DriverExit(f)
	}
	f.cancelAll()
	if last {
		f.cleanup()
	}
}

// close is CloseHandle. With the last handle it returns after CLOSE, also when
// somebody else has been first.
func (f *File) close() {
	first, last := f.shut()
	if first {
		f.stop()
	}
	if first && last {
		f.cleanup()
	}
	if last {
		<-f.gone
	}
}

// shut takes the program's handle away, and says whether it was there and
// whether it was the last one.
func (f *File) shut() (first, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = !f.closed
	f.closed = true
	return first, f.others == 0
}

// cleanup runs CLEANUP, and CLOSE when no request is left.
func (f *File) cleanup() {
	driver := f.device.driver
	if c, ok := driver.(interface{ DriverCleanup(*File) }); ok {
		c.DriverCleanup(f)
	}
	f.mu.Lock()
	idle := make(chan struct{})
	f.idle = idle
	if len(f.pending) == 0 {
		close(idle)
	}
	f.mu.Unlock()
	<-idle
	if c, ok := driver.(interface{ DriverClose(*File) }); ok {
		c.DriverClose(f)
	}
	f.device.mu.Lock()
	delete(f.device.files, f)
	f.device.mu.Unlock()
	close(f.gone)
}
