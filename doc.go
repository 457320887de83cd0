// SPDX-License-Identifier: MIT

// Package kshm lets a program and a kernel-mode driver share memory.
//
// The program offers a buffer of its own; the system pins its pages and gives
// the driver a kernel address; from then on both work on the same bytes, with
// no copy and no system call. A share ends when the program says so
// ([Share.Close]), when the driver takes it back, or when either side dies.
//
//	dev, err := kshm.Open("digest")
//	buf, err := dev.Alloc(1<<20, nil)
//	share, err := dev.Share(buf, nil)
//	copy(buf.Bytes(), data)         // the driver sees it
//	share.Kick()                    // and is told so
//	n, err := share.Wait(ctx, 0)    // until the driver raises an event
//	share.Close()                   // the driver's use has ended
//	buf.Close()
//
// The same calls work over a Linux kernel module, a Windows driver of the
// classic METHOD_OUT_DIRECT recipe, an eBPF program (package kshm/bpf) and a
// model of that recipe in Go (package kshm/kshmtest).
//
// # Memory rules
//
// Nothing in the shared bytes may be trusted by either side: read a word once
// (sync/atomic), check it, then use it. The Go race detector does not see the
// driver; words that both sides use at the same time need sync/atomic on this
// side. Shared memory is never Go heap memory.
//
// # Errors
//
// Every error is an [*OpError] that wraps one of the package's sentinels and,
// where the system gave one, its errno or NTSTATUS. Where a user can do
// something about it, OpError.Remedy says what.
package kshm
