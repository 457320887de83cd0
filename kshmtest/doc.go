// SPDX-License-Identifier: MIT

// Package kshmtest is a kernel side in Go: the classic recipe of a pended
// METHOD_OUT_DIRECT request, small enough to read, for tests of programs that
// use kshm and for learning how such a driver works. It is a model. No kernel
// takes part.
//
// A [Driver] gets requests as [IRP]s. It maps the memory of a SHARE request
// with [MDL.MapToSystemSpace], keeps it with [IRP.Pend], covers an abnormal end
// with [IRP.SetCancelRoutine], and completes it when the program says DONE. The
// system address is a second mapping of the program's own pages, so that both
// sides really share them; it turns inaccessible when the request completes, so
// that a driver that touches the memory too late faults, here as there.
// Misuse of a request panics, as Driver Verifier would stop the machine.
//
// A [Kit] is a Driver that does all of that, as kshm's kits for real kernels
// do: its author fills in what the driver is for.
//
//	dev, err := kshmtest.Open(&kshmtest.Kit{Kick: func(s *kshmtest.Share) {
//		s.Base[0]++
//		s.Notify()
//	}})
//
// Everything works in a testing/synctest bubble.
//
// [Conformance] is the other half of the package: the clauses of the share
// contract as subtests, for this model, for kshm's kernel sides and for
// anybody's driver.
//
// # What the model leaves out
//
// Only memory from Device.Alloc (and parts of it, wrapped) has a second
// mapping; other memory is refused with kshm.ErrMemory. Huge pages, event
// handles and accounting per user are not modelled. A process is one open of
// the device.
package kshmtest
