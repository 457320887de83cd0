// SPDX-License-Identifier: MIT

//go:build linux && amd64

// Bpf shows the programs that begin and end on this machine, as the running
// kernel tells them: nothing is installed. It takes the rights to load eBPF
// programs, and Linux 6.10 or later.
//
//	sudo go run ./examples/bpf
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/cilium/ebpf"

	"kshm"
	"kshm/bpf"
	"kshm/ring"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	spec, err := loadEvents()
	if err != nil {
		return err
	}
	dev, err := bpf.Open(spec, &bpf.Options{Name: "events"})
	if err != nil {
		return err
	}
	defer dev.Close()

	// A ring for each CPU, and one for programs that interrupt others there; the
	// share gets their table.
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	var layout ring.Layout
	var groups [2]ring.Group
	for i := range groups {
		if groups[i], err = layout.Add(ring.ToUser, cpus, 64<<10); err != nil {
			return err
		}
	}
	buf, err := dev.Alloc(layout.Size(), nil)
	if err != nil {
		return err
	}
	defer buf.Close()
	share, err := dev.Share(buf, &kshm.ShareOptions{Rings: layout.Groups()})
	if err != nil {
		return err
	}
	defer share.Close()

	// All CPUs' records in the order of their time stamps.
	var rings []*ring.Consumer
	for i := range 2 * cpus {
		c, err := ring.NewConsumer(buf.Bytes(), groups[i/cpus], i%cpus, share)
		if err != nil {
			return err
		}
		rings = append(rings, c)
	}
	merged, err := ring.NewMerger(10*time.Millisecond, rings...)
	if err != nil {
		return err
	}
	for i, rec := range merged.All(ctx) {
		what := [...]string{"exec", "exit"}[rec[12]&1]
		name, _, _ := bytes.Cut(rec[16:32], []byte{0})
		fmt.Fprintf(out, "cpu %d  %s  %6d  %s\n", i%cpus, what, binary.NativeEndian.Uint32(rec[8:]), name)
	}
	if ctx.Err() == nil {
		return merged.Err()
	}
	stats, err := share.Stats()
	if err == nil && stats.ToUser.Drops > 0 {
		fmt.Fprintln(out, stats.ToUser.Drops, "more found no space")
	}
	return err
}
