// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"fmt"
	"io"
)

// Target is something that the rings should reach, and what they did.
type Target struct {
	Machine string
	What    string
	Bound   float64
	AtMost  bool // else at least
	Got     float64
	Regime  string
	Trials  int // of the row that had the fewest; 0: not measured
}

// Met tells whether it was reached.
func (t Target) Met() bool {
	if t.AtMost {
		return t.Got <= t.Bound
	}
	return t.Got >= t.Bound
}

// target is a rule: the worst value of the rows that it picks.
type target struct {
	machine string
	what    string
	bound   float64
	atMost  bool
	pick    func(Row) bool
	value   func(Row) float64
}

func is(workload, peer string, batch, from, to int) func(Row) bool {
	return func(r Row) bool {
		return r.Workload == workload && r.Peer == peer && (batch == 0 || r.Batch == batch) && r.Size >= from && r.Size <= to
	}
}

func toC(r Row) float64    { return r.RatioToC }
func toPeer(r Row) float64 { return r.RatioToPeer }
func ns(r Row) float64     { return r.NsPerRecord }

var targets = []target{
	{Native, "Go consumer, C producer, 256 B and more, batch 32: part of C to C", 0.9, false, is(cToG, ours, 32, 256, 1<<30), toC},
	{Native, "Go consumer, C producer, 64 B, batch 32: part of C to C", 0.6, false, is(cToG, ours, 32, 64, 64), toC},
	{Native, "C to C over ck_ring", 1, false, is(cToC, "ck_ring", 0, 0, 1<<30), toPeer},
	{Native, "C to C over rte_ring", 1, false, is(cToC, "rte_ring", 0, 0, 1<<30), toPeer},
	{Native, "publish in Go, nobody looking, ns", 5, true, is(bare, ours, 1, 0, 1<<30), ns},
	{Native, "publish in Go, nobody looking, batch 32, ns", 2, true, is(bare, ours, 32, 0, 1<<30), ns},
	{Native, "spinning round trip over a bare cache line's", 1.3, true, is(trip, "cache-line", 1, 0, 64), func(r Row) float64 { return 1 / r.RatioToPeer }},
	{BPF, "eBPF to Go over ringbuf.ReadInto with 512 records a wake-up, 64 B", 3, false, is(bToG, tunedRing, 32, 64, 64), toPeer},
	{BPF, "eBPF to Go over ringbuf.ReadInto with 512 records a wake-up, 256 B", 2, false, is(bToG, tunedRing, 32, 256, 256), toPeer},
	{BPF, "eBPF to Go over ringbuf.ReadInto with 512 records a wake-up, 1 KiB", 1.5, false, is(bToG, tunedRing, 32, 1024, 1024), toPeer},
	{BPF, "eBPF to Go, 256 B and more, batch 32: part of C to C", 0.9, false, is(bToG, ours, 32, 256, 1<<30), toC},
	{BPF, "eBPF to Go, 64 B, batch 32: part of C to C", 0.6, false, is(bToG, ours, 32, 64, 64), toC},
	{"uml", "driver to program with copy-out over batched read(), 64 B to 64 KiB", 2, false, is(kToGCopy, "read", 32, 64, 64<<10), toPeer},
	{"uml", "driver to program with copy-out over the BPF ring buffer, 64 B", 3, false, is(kToGCopy, "bpf-ringbuf", 32, 64, 64), toPeer},
}

// Targets judges the report, each regime by itself.
func (r *Report) Targets() []Target {
	var out []Target
	for _, t := range targets {
		for _, regime := range []string{"near", "far"} {
			got := Target{Machine: t.machine, What: t.what, Bound: t.bound, AtMost: t.atMost, Regime: regime}
			for _, row := range r.Rows {
				if row.Machine != t.machine || row.Regime != regime || !t.pick(row) || row.Common == 0 {
					continue
				}
				v := t.value(row)
				if got.Trials == 0 || (t.atMost && v > got.Got) || (!t.atMost && v < got.Got) {
					got.Got = v
				}
				if got.Trials == 0 || row.Common < got.Trials {
					got.Trials = row.Common
				}
			}
			out = append(out, got)
		}
	}
	return out
}

// Verdicts writes the targets of the machines that were measured, missed ones
// as missed.
func (r *Report) Verdicts(w io.Writer) {
	for _, t := range r.Targets() {
		if !r.ran(t.Machine) {
			continue
		}
		verdict, bound := "missed", "at least"
		if t.AtMost {
			bound = "at most"
		}
		if t.Met() {
			verdict = "met"
		}
		if t.Trials == 0 {
			fmt.Fprintf(w, "not measured  %-6s  %-4s  %s\n", t.Machine, t.Regime, t.What)
			continue
		}
		fmt.Fprintf(w, "%-12s  %-6s  %-4s  %s: worst %.2f, %s %.2g, of %d trials\n", verdict, t.Machine, t.Regime, t.What, t.Got, bound, t.Bound, t.Trials)
	}
}
