// SPDX-License-Identifier: MIT

// Package live has the eBPF objects of driver/test/bpf, with which tests and
// benchmarks make records of events of the running kernel: system calls and
// timer interrupts of threads that have a name of their own.
package live
