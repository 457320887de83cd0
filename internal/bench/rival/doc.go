// SPDX-License-Identifier: MIT

// Package rival has the eBPF programs that "kshm bench bpf" measures beside
// kshm's: records through the BPF ring buffer and the perf buffer.
package rival
