// SPDX-License-Identifier: MIT

package kshm

import (
	"errors"
	"os"

	"kshm/internal/abi"
	"kshm/internal/sys"
)

// Why an operation failed. Test with errors.Is.
var (
	// ErrClosed: the Device, Buffer or Share was closed by the program.
	ErrClosed = os.ErrClosed
	// ErrRevoked: the driver ended the share.
	ErrRevoked = errors.New("share revoked by the driver")
	// ErrGone: the driver or its device was removed.
	ErrGone = sys.ErrGone
	// ErrOrphaned: the address space that made the share no longer exists;
	// seen by whoever still holds the share's descriptor.
	ErrOrphaned = errors.New("share ended with the process that made it")
	// ErrCancelled: the pended share request was cancelled.
	ErrCancelled = errors.New("share request cancelled")
	// ErrCorrupt: shared words broke the protocol and the share was ended.
	ErrCorrupt = abi.ErrCorrupt
	// ErrShared: the buffer is part of a live share.
	ErrShared = errors.New("buffer is shared")
	// ErrInvalid: an argument that no kernel would take.
	ErrInvalid = os.ErrInvalid
	// ErrRange: the length is outside what the driver or the kit allows.
	ErrRange = sys.ErrRange
	// ErrMemory: this kind of memory cannot be shared.
	ErrMemory = sys.ErrMemory
	// ErrMemlock: the caller's limit of locked memory is used up.
	ErrMemlock = sys.ErrMemlock
	// ErrLimit: a cap of the kit or the driver is used up.
	ErrLimit = sys.ErrLimit
	// ErrNotExist: there is no such device.
	ErrNotExist = os.ErrNotExist
	// ErrPermission: the caller may not open the device.
	ErrPermission = os.ErrPermission
	// ErrABI: the driver speaks another major version of the ABI.
	ErrABI = sys.ErrABI
	// ErrNotSupported: the driver or the transport cannot do this.
	ErrNotSupported = errors.ErrUnsupported
)

// OpError is the error of every operation of this package.
type OpError struct {
	Op     string // "open", "alloc", "wrap", "share", "kick", "wait", "stats", "control", "close"
	Device string // the name given to Open, if any
	Err    error  // a sentinel of this package and the system's own error
	Remedy string // what the user can do, or empty
}

func (e *OpError) Error() string {
	s := "kshm: " + e.Op
	if e.Device != "" {
		s += " " + e.Device
	}
	s += ": " + e.Err.Error()
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap gives the sentinel and the system's error to errors.Is and errors.As.
func (e *OpError) Unwrap() error { return e.Err }

// opError puts err under op and device; an OpError from a transport keeps its
// remedy. nil stays nil.
func opError(op, device string, err error) error {
	if err == nil {
		return nil
	}
	if inner, ok := errors.AsType[*OpError](err); ok {
		return &OpError{Op: op, Device: device, Err: inner.Err, Remedy: inner.Remedy}
	}
	if inner, ok := errors.AsType[*sys.Error](err); ok {
		return &OpError{Op: op, Device: device, Err: inner.Err, Remedy: inner.Remedy}
	}
	return &OpError{Op: op, Device: device, Err: err}
}

// Reason says whether a share lives, or why it ended. The numbers are those
// of enum kshm_reason in driver/include/kshm.h.
type Reason uint32

// The reasons. A number that is not among these comes from a newer kernel and
// is to be read as EndRevoked.
const (
	Live         Reason = abi.Live
	EndDone      Reason = abi.EndDone
	EndClosed    Reason = abi.EndClosed
	EndExit      Reason = abi.EndExit
	EndRevoked   Reason = abi.EndRevoked
	EndGone      Reason = abi.EndGone
	EndCorrupt   Reason = abi.EndCorrupt
	EndCancelled Reason = abi.EndCancelled
)

var reasons = map[Reason]struct {
	name string
	err  error
}{
	Live:         {"live", nil},
	EndDone:      {"done", ErrClosed},
	EndClosed:    {"closed", ErrClosed},
	EndExit:      {"exit", ErrOrphaned},
	EndRevoked:   {"revoked", ErrRevoked},
	EndGone:      {"gone", ErrGone},
	EndCorrupt:   {"corrupt", ErrCorrupt},
	EndCancelled: {"cancelled", ErrCancelled},
}

func (r Reason) String() string {
	if k, ok := reasons[r]; ok {
		return k.name
	}
	return "unknown"
}

// Err is the sentinel that stands for the reason; nil for Live.
func (r Reason) Err() error {
	if k, ok := reasons[r]; ok {
		return k.err
	}
	return ErrRevoked
}
