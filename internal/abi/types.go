// SPDX-License-Identifier: MIT

//go:build ignore

// Input of "go tool cgo -godefs", which writes zabi.go. Run "make generate".

package abi

/*
#include "../../driver/include/kshm.h"
#include "../../driver/include/kshm_ring.h"
*/
import "C"

// Version of the control ABI and sizes that are part of it.
const (
	Major      = C.KSHM_ABI_MAJOR
	Minor      = C.KSHM_ABI_MINOR
	NameSize   = C.KSHM_NAME_SIZE
	RingGroups = C.KSHM_RING_GROUPS
	ControlMax = C.KSHM_CONTROL_MAX
)

// Feature bits of Info.
const (
	FeatureShareRead = C.KSHM_FEATURE_SHARE_READ
	FeatureControl   = C.KSHM_FEATURE_CONTROL
	FeatureRings     = C.KSHM_FEATURE_RINGS
)

// What the kernel may do with the memory.
const (
	AccessRead  = C.KSHM_ACCESS_READ
	AccessWrite = C.KSHM_ACCESS_WRITE
)

// State of a share, and why it ended.
const (
	Live         = C.KSHM_LIVE
	EndDone      = C.KSHM_END_DONE
	EndClosed    = C.KSHM_END_CLOSED
	EndExit      = C.KSHM_END_EXIT
	EndRevoked   = C.KSHM_END_REVOKED
	EndGone      = C.KSHM_END_GONE
	EndCorrupt   = C.KSHM_END_CORRUPT
	EndCancelled = C.KSHM_END_CANCELLED
)

// Directions of a ring group.
const (
	RingToKernel = C.KSHM_RING_TO_KERNEL
	RingToUser   = C.KSHM_RING_TO_USER
)

// Linux ioctl numbers.
const (
	IoctlInfo    = C.KSHM_INFO
	IoctlShare   = C.KSHM_SHARE
	IoctlDone    = C.KSHM_DONE
	IoctlKick    = C.KSHM_KICK
	IoctlStats   = C.KSHM_STATS
	IoctlControl = C.KSHM_CONTROL
)

// Windows control codes.
const (
	CtlShare     = C.KSHM_CTL_SHARE
	CtlDone      = C.KSHM_CTL_DONE
	CtlInfo      = C.KSHM_CTL_INFO
	CtlShareRead = C.KSHM_CTL_SHARE_READ
	CtlKick      = C.KSHM_CTL_KICK
	CtlStats     = C.KSHM_CTL_STATS
	CtlWait      = C.KSHM_CTL_WAIT
	CtlStop      = C.KSHM_CTL_STOP
)

// The commands and their tables.
type (
	RingGroup C.struct_kshm_ring_group
	Info      C.struct_kshm_info
	ShareArgs C.struct_kshm_share_args
	ShareCmd  C.struct_kshm_share_cmd
	Wait      C.struct_kshm_wait
	Stats     C.struct_kshm_stats
	Control   C.struct_kshm_control
)

// Sizes that version 1.0 of the ABI fixes; asserted in abi.go.
const (
	SizeofRingGroup = C.sizeof_struct_kshm_ring_group
	SizeofInfo      = C.sizeof_struct_kshm_info
	SizeofShareArgs = C.sizeof_struct_kshm_share_args
	SizeofShareCmd  = C.sizeof_struct_kshm_share_cmd
	SizeofWait      = C.sizeof_struct_kshm_wait
	SizeofStats     = C.sizeof_struct_kshm_stats
	SizeofControl   = C.sizeof_struct_kshm_control
)

// Geometry and words of a ring.
const (
	RingMagic       = C.KSHM_RING_MAGIC
	RingVersion     = C.KSHM_RING_VERSION
	RingPage        = C.KSHM_RING_PAGE
	RingControlSize = C.KSHM_RING_CONTROL
	RingMinCapacity = C.KSHM_RING_MIN_CAPACITY
	RingMaxCapacity = C.KSHM_RING_MAX_CAPACITY
	RingMaxCount    = C.KSHM_RING_MAX_COUNT
	RecordAlign     = C.KSHM_RECORD_ALIGN
	RecordHeader    = C.KSHM_RECORD_HEADER
	RecordData      = C.KSHM_RECORD_DATA
	RecordSkip      = C.KSHM_RECORD_SKIP
)

// Why a ring was declared corrupt.
const (
	CorruptNone        = C.KSHM_CORRUPT_NONE
	CorruptUnaligned   = C.KSHM_CORRUPT_UNALIGNED
	CorruptBackward    = C.KSHM_CORRUPT_BACKWARD
	CorruptBeyond      = C.KSHM_CORRUPT_BEYOND
	CorruptKind        = C.KSHM_CORRUPT_KIND
	CorruptLength      = C.KSHM_CORRUPT_LENGTH
	CorruptUnpublished = C.KSHM_CORRUPT_UNPUBLISHED
	CorruptWrap        = C.KSHM_CORRUPT_WRAP
	CorruptSkip        = C.KSHM_CORRUPT_SKIP
	CorruptTimestamp   = C.KSHM_CORRUPT_TIMESTAMP
)

// The control pages of a ring.
type (
	RingWords    C.struct_kshm_ring_words
	RingCounters C.struct_kshm_ring_counters
	RingControl  C.struct_kshm_ring_control
)

// Sizes of the ring's control pages; asserted in abi.go.
const (
	SizeofRingWords    = C.sizeof_struct_kshm_ring_words
	SizeofRingCounters = C.sizeof_struct_kshm_ring_counters
	SizeofRingControl  = C.sizeof_struct_kshm_ring_control
)
