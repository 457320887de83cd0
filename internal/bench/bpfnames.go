// SPDX-License-Identifier: MIT

//go:build linux

package bench

// BPF is the name of the machine whose kernel side is eBPF: this one, measured
// beside the BPF ring buffer and the perf buffer.
const BPF = "bpf"

const (
	bToG     = "bpf-to-go"      // made by BPF_PROG_RUN, summed where they are
	bToGCopy = "bpf-to-go-copy" // copied out, then summed
	hToG     = "hook-to-go"     // made by a hook of a system call
	asleep   = "latency-asleep" // one record at a time, to a reader that sleeps
	awake    = "latency-awake"  // to one that looks all the time

	tunedRing = "ringbuf ReadInto, 512 a wake"
)
