// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"kshm"
)

// One turn of every variant with an eBPF producer: each carries records.
func TestBPFWorks(t *testing.T) {
	_, noCompiler := exec.LookPath("gcc")
	o := Options{Rounds: 1, Trial: time.Millisecond, Sizes: []int{64, 1024}, CPUs: [2]int{0, 1}, Source: "../../driver/test/ring", Log: t.Output()}
	b := &bpfBed{live: map[int]*kshm.Device{}, rivals: map[int]*rivals{}}
	defer b.close()
	err := b.open(o.Sizes)
	lacking := noCompiler != nil || runtime.NumCPU() < 2 || errors.Is(err, kshm.ErrPermission) || errors.Is(err, kshm.ErrNotSupported)
	if lacking && os.Getenv("CI") != "true" {
		t.Skip("no rights, no gcc or one processor:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if b.lab, err = newLab(ctx, o); err != nil {
		t.Fatal(err)
	}
	defer b.lab.close()
	for _, w := range b.works() {
		for _, size := range o.Sizes {
			for _, batch := range w.batches {
				r, err := w.run(ctx, trialCase{size: size, batch: batch, trial: o.Trial})
				if err != nil || r.records == 0 || r.took <= 0 {
					t.Errorf("%s, %s, %d bytes, batch %d: %+v, %v", w.workload, w.peer, size, batch, r, err)
				}
			}
		}
	}
}
