// SPDX-License-Identifier: MIT

package sharecost

import (
	"fmt"
	"io"
	"strings"
)

// Document writes the report as a page for docs/. host says on what machine it
// was made.
func (r *Report) Document(w io.Writer, host string) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# What a share costs

This page is made by a run; the numbers are those of one machine at one time:

    make bench-share

Linux %s on %s, in QEMU on %s, %s.

## How it is measured

On one buffer, whose pages have been written to, three take turns: SHARE, DONE and close of the test driver probe; io_uring's
IORING_REGISTER_BUFFERS and IORING_UNREGISTER_BUFFERS, which pin and charge as a share does, but do not map; and the four bare
steps in a kernel module, with nothing around them. Who begins changes from round to round. %s
Times are medians, in µs; ratios are medians of the ratios within a round.

- **pin** is pinning and charging, **map** the kernel address, both as STATS tells them (pin_ns, map_ns).
- **unmap** is that of the bare round; **unpin** is DONE without it, stop() and the waking of waiters included.
- **rest** is what SHARE takes besides pin and map, and close: a descriptor, the driver's callbacks and two system calls.
- **io_uring** is registration and its undoing; **pin + unpin** and **total** are the share's over it.

QEMU translates the processor's instructions. Nothing here was measured on hardware, where these ratios may be others.

## What should hold

| | bound | worst | at | |
| --- | ---: | ---: | --- | --- |
`, r.Kernel, r.CPU, host, r.Started.Format("2 January 2006"), r.counted())
	for _, t := range r.Targets() {
		switch {
		case t.Rows == 0:
			fmt.Fprintf(&b, "| %s | ≤ %.2f | – | | not measured |\n", t.What, t.Bound)
		case t.Met():
			fmt.Fprintf(&b, "| %s | ≤ %.2f | %.2f | %s | met |\n", t.What, t.Bound, t.Got, t.At)
		default:
			fmt.Fprintf(&b, "| %s | ≤ %.2f | %.2f | %s | **missed** |\n", t.What, t.Bound, t.Got, t.At)
		}
	}
	b.WriteString(reasons)
	b.WriteString("\n## All rows\n\n| pages | size | pin | map | unmap | unpin | rest | total | io_uring | pin + unpin | total | rounds |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, row := range r.Rows {
		m := row.Median
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %.2f | %.2f | %d |\n", row.Pages, bytes(row.Size), us(m.Pin), us(m.Map),
			us(m.BareUnmap), us(m.Unpin()), us(m.Rest()), us(m.Total()), us(m.Uring()), row.PinUnpinRatio, row.TotalRatio, row.Rounds)
	}
	b.WriteString("\nThe same steps with nothing around them:\n\n| pages | size | pin | map | unmap | unpin |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, row := range r.Rows {
		m := row.Median
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.Pages, bytes(row.Size), us(m.BarePin), us(m.BareMap), us(m.BareUnmap), us(m.BareUnpin))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reasons is what is known about targets that are missed, wherever they are.
const reasons = `
Where a target is missed:

- io_uring does not map. What a module may call to map pages, vmap(), writes an entry for every 4 KiB, whatever the pages are;
  vmap_pfn() refuses memory, and larger entries are for memory that the kernel allocates itself. So 2 MiB pages save pinning and
  unpinning, and none of the mapping, which alone costs about as much as all that io_uring does for them, or more.
- The kernel has an address for all memory already, its linear map, and a share that happens to lie in one piece could do without a
  mapping of its own. It does not: that address could be written to in a share that is for reading; a driver that runs over the end
  would be in somebody else's memory, where there now is a page that faults; and one that uses a pointer after the end would always hit
  whoever has the page next, where it now faults once the kernel has forgotten the translation, which it does lazily.
- A share is a descriptor, so that it can be waited on, sent on and ended by a close, and its end is two calls: DONE and close.
  io_uring's buffers belong to a ring that is there already. That is the rest, most of the difference up to a few MiB.
- Sizes that take long have few rounds, and whatever else the machine did shows in them. A miss there may be one of the machine's;
  from one run, it cannot be told.
`

// us is a time in ns, written in µs to three figures.
func us(ns float64) string {
	v := ns / 1e3
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func bytes(n int) string {
	switch {
	case n >= 1024*mebibyte:
		return fmt.Sprintf("%d GiB", n/(1024*mebibyte))
	case n >= mebibyte:
		return fmt.Sprintf("%d MiB", n/mebibyte)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// counted says which rounds the numbers are of.
func (r *Report) counted() string {
	if r.FasterHalf {
		return "The faster half of the rounds counts, since whatever else the machine does only ever adds."
	}
	return "All rounds of this run count; since then, the command has kept the faster half."
}
