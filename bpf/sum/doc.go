// SPDX-License-Identifier: MIT

// Package sum is the sample driver sum, an eBPF object that is compiled from
// driver/samples/sum/sum.bpf.c: the demo's kernel side.
package sum
