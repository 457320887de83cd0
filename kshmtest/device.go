// SPDX-License-Identifier: MIT

package kshmtest

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync"

	"kshm"
	"kshm/internal/abi"
)

// Driver is a driver: its dispatch routine for IRP_MJ_DEVICE_CONTROL. A driver
// answers every request with Complete, now or, after Pend, later, and returns
// the status. It completes requests that it does not know with
// StatusInvalidDeviceRequest. Requests come concurrently.
//
// A driver that cares has these methods too:
//
//	DriverCreate(*File) Status // IRP_MJ_CREATE: a program opens the device
//	DriverCleanup(*File)       // IRP_MJ_CLEANUP: its last handle was closed
//	DriverExit(*File)          // the process-exit callback
//	DriverClose(*File)         // IRP_MJ_CLOSE: no request of it is left
//	DriverRemove()             // the device was pulled out
//
// For one open they are called in this order; DriverExit only when the process
// dies, around DriverCleanup.
type Driver interface {
	DriverControl(*IRP) Status
}

// Options are the choices of NewDevice. The zero value is the default.
type Options struct {
	// Info is what the program sees. Zero fields have defaults: 1 byte to
	// 1 GiB per share, 16 shares per open; no optional features.
	Info kshm.Info
	// Trace is called with what the system does, as it does it.
	Trace func(what string)
}

// Device is a device object of a loaded driver.
type Device struct {
	driver  Driver
	info    kshm.Info
	traceTo func(string)

	mu      sync.Mutex
	removed bool
	shares  uint64 // numbers given out
	pinned  uint64 // bytes locked now
	files   map[*File]struct{}
}

// NewDevice loads a driver. o may be nil.
func NewDevice(driver Driver, o *Options) *Device {
	if o == nil {
		o = &Options{}
	}
	d := &Device{driver: driver, info: o.Info, traceTo: o.Trace, files: make(map[*File]struct{})}
	if f, ok := driver.(interface{ features() kshm.Features }); ok {
		d.info.Features |= f.features()
	}
	i := &d.info
	i.KernelSide, i.Major, i.Minor, i.PageSize = "model", abi.Major, abi.Minor, os.Getpagesize()
	i.Driver = or(i.Driver, "model")
	i.MinLength = or(i.MinLength, 1)
	i.MaxLength = or(i.MaxLength, 1<<30)
	i.MaxOpenShares = or(i.MaxOpenShares, 16)
	i.MaxUserShares = or(i.MaxUserShares, math.MaxUint32)
	i.MaxUserBytes = or(i.MaxUserBytes, math.MaxUint64)
	return d
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Open loads a driver and opens its device.
func Open(driver Driver) (*kshm.Device, error) {
	return NewDevice(driver, nil).Open(context.Background())
}

// Open opens the device for a process that lives as long as ctx. When ctx is
// done, the process is gone: its pending requests are cancelled, the exit
// callback and CLEANUP run, and CLOSE when no request is left.
func (d *Device) Open(ctx context.Context) (*kshm.Device, error) {
	f := &File{device: d, pending: make(map[*IRP]struct{}), gone: make(chan struct{})}
	d.mu.Lock()
	removed := d.removed
	d.mu.Unlock()
	if removed {
		return nil, &kshm.OpError{Op: "open", Device: d.info.Driver, Err: kshm.ErrNotExist}
	}
	if c, ok := d.driver.(interface{ DriverCreate(*File) Status }); ok {
		if err := c.DriverCreate(f).err(); err != nil {
			return nil, &kshm.OpError{Op: "open", Device: d.info.Driver, Err: err}
		}
	}
	d.mu.Lock()
	d.files[f] = struct{}{}
	d.mu.Unlock()
	f.stop = context.AfterFunc(ctx, f.exit)
	return kshm.NewDevice(d.info.Driver, &transport{f}), nil
}

// Remove pulls the device out: what is opened or asked from now on fails, and
// DriverRemove, if the driver has it, ends the shares.
func (d *Device) Remove() {
	d.mu.Lock()
	first := !d.removed
	d.removed = true
	d.mu.Unlock()
	if r, ok := d.driver.(interface{ DriverRemove() }); ok && first {
		r.DriverRemove()
	}
}

// CancelIo cancels every request that is pending now, as CancelIoEx does.
func (d *Device) CancelIo() {
	d.mu.Lock()
	files := make([]*File, 0, len(d.files))
	for f := range d.files {
		files = append(files, f)
	}
	d.mu.Unlock()
	for _, f := range files {
		f.cancelAll()
	}
}

// Pinned is how many bytes the driver has locked in shares.
func (d *Device) Pinned() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pinned
}

func (d *Device) trace(format string, args ...any) {
	if d.traceTo != nil {
		d.traceTo(fmt.Sprintf(format, args...))
	}
}
