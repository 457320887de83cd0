// SPDX-License-Identifier: MIT

package kshm

import (
	"sync/atomic"
	"time"

	"kshm/ring"
)

// Stats are the kernel's own counters of one share, from memory that the
// program cannot write.
type Stats struct {
	Reason   Reason        // Live, or why the share ended
	ReadOnly bool          // the kernel may only read
	Length   uint64        // bytes offered
	Pinned   uint64        // bytes pinned now; 0 once the share has ended
	Kicks    uint64        // kicks that reached the driver
	Events   uint64        // events that the driver raised
	Wakes    uint64        // events that found somebody to wake
	PinTime  time.Duration // what Share spent on pinning and charging
	MapTime  time.Duration // what Share spent on mapping

	CorruptOffset uint64 // of the first broken shared word, with EndCorrupt
	CorruptWhy    uint32 // what was wrong with it, with EndCorrupt

	// What the kernel's ends of the share's rings have counted, added up over
	// all rings of a direction; HighWater and Stall are the largest. Zero with
	// a driver of ABI 1.0.
	ToKernel ring.Counters // consumers
	ToUser   ring.Counters // producers
}

// Info describes a driver and its limits.
type Info struct {
	KernelSide    string // "Linux module", "Windows driver", "eBPF" or "model"
	Driver        string // the driver's name
	DriverVersion uint32 // the driver's own number
	Major, Minor  uint32 // of the control ABI
	Features      Features
	PageSize      int    // alignment of a share's start, bytes
	MinLength     uint64 // bytes per share
	MaxLength     uint64 // bytes per share
	MaxUserBytes  uint64 // pinned bytes per user over all drivers
	MaxOpenShares uint32 // live shares per open device
	MaxUserShares uint32 // live shares per user over all drivers
}

// Features says which optional parts of the ABI a driver has.
type Features uint64

var leakedBuffers atomic.Uint64

// LeakedBuffers counts buffers that this process dropped without Close. Their
// memory is never unmapped, since slices of it may still be in use.
func LeakedBuffers() uint64 { return leakedBuffers.Load() }
