// SPDX-License-Identifier: MIT

// Package ring puts lock-free rings of records into memory that a program and
// a driver share: one producer, one consumer, records of any length, no copy,
// no system call while both sides keep up, and no wake-up lost when one of
// them sleeps. It speaks the byte layout of driver/include/kshm_ring.h, which
// docs/protocol.md specifies; the other side of a ring is C code in a kernel,
// an eBPF program, another process or another goroutine.
//
// A [Layout] says where the rings lie in a share. The records of a [Producer]
// go through Reserve, Commit and Flush; those of a [Consumer] through Next and
// Release. Neither of these blocks nor allocates. Write, Wait and All block:
// they spin for about as long as a sleep would cost, then ask for a wake-up in
// the shared memory, look once more, and park on a [Doorbell]. A [Merger]
// reads rings of several CPUs in the order of their timestamps.
//
// # Concurrency
//
// A Producer or Consumer belongs to one goroutine at a time. The package uses
// sync/atomic on the shared words, which Go makes sequentially consistent, and
// plain accesses for records; the position words order those. The race
// detector therefore sees the true order when both ends of a ring are in one
// program and its memory comes from the Go heap. It does not look at memory
// that was mapped by hand, nor at the other process.
//
// # Trust
//
// Nothing that the other side can write is believed. Each shared word is
// fetched once and checked; one that breaks the protocol ends the ring with a
// [*CorruptError]. Payload that Next returns is still in the share: a program
// that does not trust the producer copies what it checks before it checks it.
package ring
