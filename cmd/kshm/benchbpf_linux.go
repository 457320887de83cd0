// SPDX-License-Identifier: MIT

package main

import (
	"errors"

	"github.com/spf13/cobra"

	"kshm"
	"kshm/internal/bench"
)

// newBenchBPFCommand is `kshm bench bpf`: bench's flags, and one machine.
func newBenchBPFCommand(f *benchFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "bpf",
		Short: "Measure rings from eBPF programs beside the BPF ring buffer",
		Long: `Bench bpf measures records from eBPF programs of the running kernel to Go: from
BPF_PROG_RUN and from a hook of a system call, through kshm's rings in an arena,
the BPF ring buffer with the readers of cilium/ebpf (as the kernel decides to
wake them, and tuned to one wake-up per 512 records), and the perf buffer;
summed in place and copied out; and how long a record takes to a reader that
sleeps and to one that looks all the time. It takes the rights to load eBPF
programs, Linux 6.10 or later, the repository and gcc.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.machines = []string{bench.BPF}
			return lacking(f.run(cmd))
		},
	}
}

// lacking is err with status 3 if the machine lacks something that it names.
func lacking(err error) error {
	if errors.Is(err, kshm.ErrPermission) || errors.Is(err, kshm.ErrNotSupported) {
		return statusError{3, err}
	}
	return err
}
