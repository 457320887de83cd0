// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"fmt"
	"io"
	"strings"
)

// Document writes the report as a page for docs/.
func (r *Report) Document(w io.Writer, picture string) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Performance

This page is made by a run; the numbers are those of one machine at one time:

    go run ./cmd/kshm bench%s --document docs/performance.md

%s, %s/%s, %d rounds of %g ms trials, %s.

## How it is measured

All variants take turns in each round, on two pinned threads that run before everything else; a trial in which the scheduler
took a processor away does not count. A bare ping-pong of one cache line before each turn tells how far the processors are from
each other: near up to %d ns, far above. Ratios are medians of the ratios within one turn, so of one regime. Every producer
writes every word of the payload and every consumer sums them all. The rings have %d KiB. ck_ring and rte_ring carry
pointers to payload in slots; ck_ring publishes each record by itself. Pipe and socket take one system call for a batch. "publish" is a
Go producer with records of 8 bytes while nobody looks.

![throughput](%s)

## What should hold

`, r.quickFlag(), r.Go, r.OS, r.Arch, r.Rounds, r.TrialMs, r.Started.Format("2 January 2006"), near.Nanoseconds(), capacity>>10, picture)
	b.WriteString("| | processors | bound | worst | |\n| --- | --- | ---: | ---: | --- |\n")
	for _, t := range r.Targets() {
		bound, verdict := "≥", "**missed**"
		if t.AtMost {
			bound = "≤"
		}
		if t.Met() {
			verdict = "met"
		}
		if t.Rows == 0 {
			fmt.Fprintf(&b, "| %s | %s | %s %.2g | – | not measured: the processors were never so |\n", t.What, t.Regime, bound, t.Bound)
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s %.2g | %.2f | %s |\n", t.What, t.Regime, bound, t.Bound, t.Got, verdict)
	}
	b.WriteString(reasons)
	b.WriteString("\n## All rows\n\n| processors | workload | carrier | bytes | batch | records/s | ns/record | ours/this | this/C to C | trials |\n")
	b.WriteString("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %.3g | %.1f | %.2f | %.2f | %d |\n", row.Regime, row.Workload, row.Peer,
			row.Size, row.Batch, row.RecordsPerS, row.NsPerRecord, row.RatioToPeer, row.RatioToC, row.Trials)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reasons is what is known about targets that are missed, wherever they are.
const reasons = `
Where a target is missed:

- A ring's message is two cache lines, the record and the position; a bare ping-pong is one. A consumer that spins can ask for
  both at once (kshm_consumer_expect, which the round trip here does), but the producer needs both lines, too.
- A publication in Go is two or three calls of functions that Go does not inline, and its atomic store
  is an exchange.
- Each publication ends in a full barrier, which is what never loses a wake-up. ck_ring and rte_ring have none and leave sleeping to
  their users.
- A variable record has its header in front of it, and the next one is found through it; a ring of pointers knows where the
  next ones are.
`

// quickFlag is what the command line of the run had.
func (r *Report) quickFlag() string {
	if r.Rounds == Quick().Rounds {
		return " --quick"
	}
	return ""
}
