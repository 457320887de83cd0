// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kshm/internal/bench"
	"kshm/internal/deps"
)

// benchFlags say what to do with a run.
type benchFlags struct {
	quick, json, benchstat bool
	cpus                   []int
	machines               []string
	picture, document      string
}

func newBenchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the rings beside what others offer",
		Long: `Bench measures records per second from Go and C to Go and C through kshm's
rings, beside ck_ring, DPDK's rte_ring, a Go channel, pipes and a Unix socket
where they are installed. It needs the repository and gcc.

With --machine uml or qemu it starts a virtual machine and measures between a
driver and a program, beside read(), write() and the BPF ring buffer. The kernel
of uml is built from source the first time, which takes a while.

Both threads of a trial run at real-time priority for a few milliseconds if
that is allowed (as root), and the machine should do nothing else meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.AddCommand(newBenchBPFCommand(&f))
	flags := cmd.PersistentFlags() // of bench bpf, too
	flags.BoolVar(&f.quick, "quick", false, "fewer sizes and rounds, done within a minute")
	flags.BoolVar(&f.json, "json", false, "write JSON instead of a table")
	flags.BoolVar(&f.benchstat, "benchstat", false, "write Go benchmark lines instead of a table")
	flags.IntSliceVar(&f.cpus, "cpus", []int{0, 1}, "processors of producer and consumer")
	cmd.Flags().StringSliceVar(&f.machines, "machine", []string{bench.Native}, "where to measure: "+strings.Join(bench.MachineNames(), ", "))
	flags.StringVar(&f.picture, "picture", "", "also draw throughput against record size into `NAME`.svg and .png")
	flags.StringVar(&f.document, "document", "", "also write `FILE`, a page for docs/, and its picture next to it")
	cmd.MarkFlagsMutuallyExclusive("json", "benchstat")
	return cmd
}

func (f *benchFlags) run(cmd *cobra.Command) error {
	root := deps.Repo()
	if root == "" {
		return errors.New("the C side is compiled from the repository: run it in there")
	}
	if len(f.cpus) != 2 || f.cpus[0] == f.cpus[1] {
		return usageError{errors.New("--cpus wants two different processors")}
	}
	o := bench.Full()
	if f.quick {
		o = bench.Quick()
	}
	o.CPUs, o.Log = [2]int(f.cpus), cmd.ErrOrStderr()
	o.Source = filepath.Join(root, "driver", "test", "ring")
	start := time.Now()
	report, err := f.measure(cmd.Context(), o, root)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Log, "measured in %.0f s\n", time.Since(start).Seconds())
	return f.write(cmd.OutOrStdout(), report)
}

// measure runs on each machine in turn and puts the rows together.
func (f *benchFlags) measure(ctx context.Context, o bench.Options, root string) (*bench.Report, error) {
	var all *bench.Report
	for _, name := range f.machines {
		report, err := bench.On(ctx, o, name, root)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = report
		} else {
			all.Add(report)
		}
	}
	return all, nil
}

func (f *benchFlags) write(out io.Writer, report *bench.Report) error {
	if f.picture != "" {
		if err := report.Picture(f.picture); err != nil {
			return err
		}
	}
	if f.document != "" {
		if err := f.writeDocument(report); err != nil {
			return err
		}
	}
	switch {
	case f.json:
		return report.JSON(out)
	case f.benchstat:
		return report.Benchstat(out)
	}
	if err := report.Table(out); err != nil {
		return err
	}
	fmt.Fprintln(out)
	report.Verdicts(out)
	return nil
}

func (f *benchFlags) writeDocument(report *bench.Report) error {
	picture := filepath.Join(filepath.Dir(f.document), "performance")
	if err := report.Picture(picture); err != nil {
		return err
	}
	page, err := os.Create(f.document)
	if err != nil {
		return err
	}
	defer page.Close()
	if err := report.Document(page, filepath.Base(picture)+".svg"); err != nil {
		return err
	}
	return page.Close()
}
