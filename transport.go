// SPDX-License-Identifier: MIT

package kshm

import "context"

// Transport is the seam between this package and a kernel side. Device, Buffer
// and Share are the same over every transport; a transport does what only its
// kernel side can do. It is safe for concurrent use.
//
// Errors of a transport wrap this package's sentinels, and are an *OpError
// where they carry a remedy; Op and Device are filled in by the caller.
type Transport interface {
	// Info describes the driver; it was read when the transport was opened.
	Info() Info
	// Alloc returns page-aligned, zeroed memory of size bytes outside the Go
	// heap that Share takes, and the function that gives it back.
	Alloc(size int, o AllocOptions) (mem []byte, free func() error, err error)
	// Share pins mem, maps it for the driver and returns the live share. It
	// changes nothing when it fails.
	Share(mem []byte, o ShareOptions) (Session, error)
	// Control sends one of the driver's own codes and returns the bytes
	// written to out.
	Control(ctx context.Context, code ControlCode, in, out []byte) (int, error)
	// Close gives the device back. All its sessions have ended before.
	Close() error
}

// Session is a share as its transport sees it.
type Session interface {
	// Kick tells the driver that there is something to do.
	Kick() error
	// Pump calls wake with the number of events so far, each time it has
	// grown, until the share ends, and returns why: an error of
	// [Reason.Err]. It is called once, on a goroutine of its own; nothing of
	// the share is in the kernel's hands any more when it returns.
	Pump(wake func(events uint64)) error
	// Stats reads the kernel's counters, of an ended share too.
	Stats() (Stats, error)
	// End says DONE, and waits until the kernel has let go. It is called
	// once, and Pump returns soon after.
	End() error
	// Close gives back what is left of the session. It is called once, after
	// Pump has returned.
	Close() error
}
