// SPDX-License-Identifier: MIT

package vm

import (
	"errors"
	"fmt"
)

// What can be wrong with a run. Every error of this package that is about the
// guest matches one of them with errors.Is.
var (
	ErrSplat      = errors.New("the kernel log holds a complaint")
	ErrLog        = errors.New("the kernel log is too long to be kept, and judged, whole")
	ErrMemoryLeak = errors.New("kernel memory leaked")
	ErrPinLeak    = errors.New("pages stayed pinned")
	ErrUnload     = errors.New("a module could not be unloaded")
	ErrLoad       = errors.New("a module could not be loaded")
	ErrPanic      = errors.New("the kernel died")
	ErrTimeout    = errors.New("the machine was killed: out of time")
	ErrGuest      = errors.New("the guest could not do its job")
	ErrProgram    = errors.New("the program cannot run in the guest")
	ErrMismatch   = errors.New("the module was built for another kernel")
)

// An Error is one thing that is wrong with a run.
type Error struct {
	Kind   error  // one of the Err values of this package
	Detail string // may have several lines
}

func (e *Error) Error() string { return fmt.Sprintf("vm: %v: %s", e.Kind, e.Detail) }

// Unwrap returns Kind.
func (e *Error) Unwrap() error { return e.Kind }

func fail(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
