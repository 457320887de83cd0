// SPDX-License-Identifier: MIT

package kshmtest

import (
	"fmt"
	"sync"

	"kshm"
	"kshm/internal/abi"
)

// The codes of requests that the model sends by itself; any other comes from
// Device.Control. CodeShareRead asks for a share that the driver only reads.
const (
	CodeShare                      = kshm.CodeShare
	CodeDone                       = kshm.CodeDone
	CodeShareRead kshm.ControlCode = abi.CtlShareRead
	CodeKick      kshm.ControlCode = abi.CtlKick
)

// IRP is an I/O request packet: a request on its way through the driver. The
// driver owns it from DriverControl until Complete.
type IRP struct {
	Code  kshm.ControlCode
	File  *File  // the open that it came through
	Share uint64 // SHARE: the new share's number; KICK, DONE: which share

	// SHARE only.
	MDL     *MDL              // the memory
	Event   *Event            // the program waits for it
	Options kshm.ShareOptions // what the program asked for

	// The driver's own codes: copies of the program's buffers.
	In, Out []byte

	// Information is how many bytes of Out are an answer. Set it before
	// Complete.
	Information int

	mu        sync.Mutex
	corrupt   corruption
	routine   func(*IRP)
	cancelled bool
	pended    bool
	completed bool // by the driver
	gone      bool // and the system has cleaned up after it
	status    Status
	done      chan struct{} // closed by Complete
}

// SetCancelRoutine sets the function that is called when the request is
// cancelled, nil for none, and returns the one before. Like the kernel's, it is
// an exchange: whoever gets the routine back owns the request; nil means that
// a cancellation has taken it and its routine owns the request. It cancels
// nothing by itself: look at Cancelled afterwards.
//
// A cancel routine must not wait: it runs at DISPATCH_LEVEL.
func (irp *IRP) SetCancelRoutine(f func(*IRP)) (old func(*IRP)) {
	irp.mu.Lock()
	defer irp.mu.Unlock()
	old, irp.routine = irp.routine, f
	return old
}

// Cancelled says whether somebody wanted the request cancelled.
func (irp *IRP) Cancelled() bool {
	irp.mu.Lock()
	defer irp.mu.Unlock()
	return irp.cancelled
}

// Cancel asks for the request's end, as CancelIoEx or a dying thread does. It
// says whether there was a cancel routine, which it has called.
func (irp *IRP) Cancel() bool {
	irp.mu.Lock()
	irp.cancelled = true
	routine := irp.routine
	irp.routine = nil
	irp.mu.Unlock()
	if routine == nil {
		return false
	}
	irp.File.device.trace("cancels the request")
	routine(irp)
	return true
}

// Pend marks the request as pending and returns StatusPending, which
// DriverControl must then return. It comes before anything that lets somebody
// else complete the request.
func (irp *IRP) Pend() Status {
	irp.mu.Lock()
	defer irp.mu.Unlock()
	if irp.completed {
		bugcheck("%v: Pend after Complete", irp.Code)
	}
	irp.pended = true
	return StatusPending
}

// Complete gives the request back to the system, which takes the system
// address away, unlocks the pages and tells the program. It returns s. The
// cancel routine has been taken out before, and nobody uses the memory.
func (irp *IRP) Complete(s Status) Status {
	irp.mu.Lock()
	switch {
	case irp.completed:
		bugcheck("MULTIPLE_IRP_COMPLETE_REQUESTS: %v was completed twice, with %v and %v", irp.Code, irp.status, s)
	case s == StatusPending:
		bugcheck("%v was completed with STATUS_PENDING", irp.Code)
	case irp.routine != nil:
		bugcheck("%v was completed with its cancel routine still set", irp.Code)
	case irp.Information < 0 || irp.Information > len(irp.Out):
		bugcheck("%v was completed with %d bytes in a buffer of %d", irp.Code, irp.Information, len(irp.Out))
	}
	irp.completed, irp.status = true, s
	irp.mu.Unlock()
	irp.File.finish(irp)
	irp.mu.Lock()
	irp.gone = true
	irp.mu.Unlock()
	close(irp.done)
	return s
}

// corruption is the first broken word of a share, for its statistics.
type corruption struct {
	offset uint64
	why    uint32
}

func (irp *IRP) setCorrupt(offset uint64, why uint32) {
	irp.mu.Lock()
	defer irp.mu.Unlock()
	if irp.corrupt == (corruption{}) {
		irp.corrupt = corruption{offset, why}
	}
}

func (irp *IRP) getCorrupt() corruption {
	irp.mu.Lock()
	defer irp.mu.Unlock()
	return irp.corrupt
}

// ended says whether the request has been completed and nothing of it is left.
func (irp *IRP) ended() bool {
	irp.mu.Lock()
	defer irp.mu.Unlock()
	return irp.gone
}

// wait waits for the completion.
func (irp *IRP) wait() Status {
	<-irp.done
	return irp.status
}

// check holds the driver to the rules of a dispatch routine: what it returns
// is what it has done.
func (irp *IRP) check(returned Status) {
	irp.mu.Lock()
	defer irp.mu.Unlock()
	switch {
	case returned == StatusPending && !irp.pended:
		bugcheck("%v: DriverControl returned STATUS_PENDING without Pend", irp.Code)
	case returned != StatusPending && irp.pended:
		bugcheck("%v: DriverControl returned %v after Pend", irp.Code, returned)
	case returned != StatusPending && !irp.completed:
		bugcheck("%v: DriverControl returned %v without Complete", irp.Code, returned)
	}
}

// bugcheck stops the machine.
func bugcheck(format string, args ...any) {
	panic("kshmtest: " + fmt.Sprintf(format, args...))
}
