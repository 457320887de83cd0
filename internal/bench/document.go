// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Document writes the report as a page for docs/.
func (r *Report) Document(w io.Writer, picture string) error {
	var b strings.Builder
	r.introduce(&b, picture)
	for _, run := range r.Runs {
		if p, ok := prose[run.Machine]; ok {
			fmt.Fprintf(&b, "\n## %s\n\n%s", p.title, p.method)
			r.judge(&b, run.Machine)
			b.WriteString(p.reasons)
		}
	}
	for _, run := range r.Runs {
		fmt.Fprintf(&b, "\n## All rows, %s\n\n%s: %s, %d rounds of %g ms trials.\n\n", run.Machine, run.Kernel, run.About, run.Rounds, run.TrialMs)
		r.rows(&b, run.Machine)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) introduce(b *strings.Builder, picture string) {
	fmt.Fprintf(b, `# Performance

This page is made by a run; the numbers are those of one machine at one time:

    go run ./cmd/kshm bench%s --document docs/performance.md

%s, %s/%s, %s.

All variants take turns in each round, on two pinned threads; a trial in which the scheduler took a processor away does not count.
A bare ping-pong of one cache line before each turn tells how far the processors are from each other: near up to %d ns, far above.
Ratios are medians of the ratios within one turn, so of one machine and one regime. Every producer writes every word of the payload
and every consumer sums them all. Whatever has a size has %d KiB. A bound is held against the worst of its rows; the trials beside
it are those of the row that had the fewest.

![throughput](%s)
`, r.flags(), r.Go, r.OS, r.Arch, r.Started.Format("2 January 2006"), near.Nanoseconds(), capacity>>10, picture)
}

// judge writes what a machine should reach, and what it did: nothing for one
// that has no targets.
func (r *Report) judge(b *strings.Builder, machine string) {
	targets := slices.DeleteFunc(r.Targets(), func(t Target) bool { return t.Machine != machine })
	if len(targets) > 0 {
		b.WriteString("| | processors | bound | worst | trials | |\n| --- | --- | ---: | ---: | ---: | --- |\n")
	}
	for _, t := range targets {
		bound, verdict := "≥", "**missed**"
		if t.AtMost {
			bound = "≤"
		}
		if t.Met() {
			verdict = "met"
		}
		if t.Trials == 0 {
			fmt.Fprintf(b, "| %s | %s | %s %.2g | – | 0 | not measured: no trial in this regime was undisturbed |\n", t.What, t.Regime, bound, t.Bound)
			continue
		}
		fmt.Fprintf(b, "| %s | %s | %s %.2g | %.2f | %d | %s |\n", t.What, t.Regime, bound, t.Bound, t.Got, t.Trials, verdict)
	}
}

func (r *Report) rows(b *strings.Builder, machine string) {
	b.WriteString("| processors | workload | carrier | bytes | batch | records/s | ns/record | ours/this | this/C to C | trials |\n")
	b.WriteString("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, row := range r.Rows {
		if row.Machine == machine {
			fmt.Fprintf(b, "| %s | %s | %s | %d | %d | %.3g | %.1f | %.2f | %.2f | %d |\n", row.Regime, row.Workload, row.Peer,
				row.Size, row.Batch, row.RecordsPerS, row.NsPerRecord, row.RatioToPeer, row.RatioToC, row.Trials)
		}
	}
}

// flags is what the command line of the run had.
func (r *Report) flags() string {
	var machines []string
	rounds := 0
	for _, run := range r.Runs {
		machines, rounds = append(machines, run.Machine), max(rounds, run.Rounds)
	}
	flags := " --machine " + strings.Join(machines, ",")
	if rounds == Quick().Rounds {
		flags = " --quick" + flags
	}
	return flags
}

// prose is what a page says about a machine.
var prose = map[string]struct{ title, method, reasons string }{
	Native: {"Rings between processes", `Both threads run before everything else, and all of them, in C and in Go, have the same loops over the payload. The C side says that nothing
interrupts its producers (KSHM_RING_NESTED), as is true of a program's threads. ck_ring and rte_ring carry pointers to payload in slots;
ck_ring publishes each record by itself. Pipe and socket take one system call for a batch. "publish" is a producer while nobody looks, in Go
and, with the carrier c, in C; "round-trip" is a record there and back. Both have records of 8 bytes.

`, `
Where a target is missed:

- A Go consumer takes a few nanoseconds more for each record than one in C, for Next and Release are calls that Go does not inline and a
  slice is made and checked. From 1 KiB on that is nothing; at 256 B, with near processors, the loop over the payload is as short as that.
- A ring's message is two cache lines, the record and the position; a bare ping-pong is one. A consumer that spins can ask for
  both at once (kshm_consumer_expect, which the round trip here does), but the producer needs both lines, too. Tried without the full
  barrier, without asking for lines in advance, and with space published late: a tenth at most.
- A publication in Go takes two calls of functions that Go does not inline, Commit and Flush, whose instructions are what it
  costs; the exchange that its atomic store is takes less than a third. The row with the carrier c is the same work where the compiler inlines
  it. An offset in place of the slice that Commit moves on was not faster.
- ck_ring and rte_ring move pointers and look at no record. With a batch of 1, what is missing near is the full barrier between a publication
  and the look at need_wakeup, which waits until the consumer has let go of the lines: the same ring without it is as fast as either, and
  loses wake-ups. A barrier for the sleeper alone (membarrier) does not reach a kernel's threads and interrupts. With a batch of 32 and 64 B near,
  it is memory: records of 72 bytes lie across cache lines, slots do not. Without the check of the header, the counters and the
  barrier the ring is as fast as with them; nor do more or fewer lines asked for in advance, lines asked for by the consumer, or space
  published later help.
`},
	"uml": {"Rings between a driver and a program", `In user-mode Linux, a kernel that runs as a program: both sides work at the machine's own memory speed, but a system call costs tens of
microseconds there where it costs a fraction of one on bare metal, which weighs on read() and write(), one record at a time most of all,
and which is why read() is measured with as many as 32 records a call, too.

The sample driver loop produces on one processor and the program consumes on the other, or the other way round. read() and write() are those of
a test driver with loop's producer and a ring of the same size in the kernel, which looks for a while before it sleeps, as the program's
side does. A BPF program stamps each record and copies it into the BPF ring buffer; there is no compiler for BPF in this kernel, so it is
interpreted. The program reads it with the library cilium/ebpf, and only when there is something to read, so that nobody need wake it; at
batch 1 the buffer's own rule says when to wake. "C to C" is kernel to kernel here. "Copy-out" takes each record out of the ring before it
is summed, as read() and the library do; without it, it is summed where it lies.

What a program produces, the driver takes in a worker of the kernel, which is kept on the other processor, as all threads here are. Where a
worker is not, this scheduler may wake it on the producer's processor, and each waits for the other to be through: a hundred times slower.

The machine goes before everything else on the host. In it, to turn interrupts off and on costs two system calls of the host, when it has more than one
processor: loop and the test driver make up to 32 records (32 KiB) at one go; the BPF ring buffer turns them off for each record.

`, umlReasons},
	"qemu": {"The same in an emulated machine", `A stock kernel in QEMU, which translates each instruction where the host offers no acceleration. Only ratios mean something here, and those
say more about a translator than about any machine: it makes barriers and atomic instructions cheap beside copies. BPF is compiled here.

`, ""},
}

const umlReasons = `
Where a target is missed:

- The larger the record, the more of the time is memory's: it is filled, its lines move from one processor to the other, it is copied out and
  summed, which a reader with read() does as well. What there is to gain is the system call, shared by the records of one read(), as many of
  them as fit in a ring of this size. The column "this/C to C" says how much that is: whatever carries the same bytes is hardly faster than
  C to C in the kernel.
`
