// SPDX-License-Identifier: MIT

// Package loop is the sample driver loop as an eBPF object, compiled from
// driver/samples/loop/loop.bpf.c. The benchmarks, the demo and the tests use
// it.
package loop
