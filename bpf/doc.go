// SPDX-License-Identifier: MIT

// Package bpf is the transport whose kernel side is an eBPF object: programs
// that include driver/bpf/kshm.bpf.h. Nothing has to be installed; the kernel
// has to be Linux 6.10 or later, and whoever opens the object needs CAP_BPF and
// CAP_PERFMON.
//
//	spec, err := ebpf.LoadCollectionSpec("events.o")   // or what bpf2go made
//	dev, err := bpf.Open(spec, nil)
//	buf, err := dev.Alloc(layout.Size(), nil)          // pages of a BPF arena
//	share, err := dev.Share(buf, &kshm.ShareOptions{Rings: ...})
//
// Share loads the object's programs into the kernel and attaches them; Close
// detaches them and returns when none runs any more. If the process dies, the
// kernel does the same.
//
// # Rings
//
// The ring groups of a share in the direction ToUser are nesting levels:
// ring number i of the first group belongs to CPU i, and so does ring i of the
// second group, which a program takes that has interrupted another one in the
// middle of a record. A share has at most four such groups; what finds no ring
// is dropped and counted. Rings in the other direction are numbered as they
// come, and consumed by what a Kick runs.
//
// # Memory
//
// A share takes memory of the device's own Alloc: the pages belong to the
// arena map, so that nothing is pinned or charged to RLIMIT_MEMLOCK.
//
// docs/bpf.md says for each clause of the contract how it is met, or not.
package bpf
