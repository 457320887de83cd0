// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// One round of everything between a driver and a program: every variant carries
// records. How fast it was does not matter here.
func TestRunIn(t *testing.T) {
	kernel := os.Getenv("KSHM_VM")
	if kernel == "" {
		t.Skip("boots a virtual machine; set KSHM_VM=1")
	}
	machines := slices.Clone(Machines())
	machines = slices.DeleteFunc(machines, func(m Machine) bool { return m.Kernel != kernel && (kernel != "1" || m.Name != "qemu") })
	if len(machines) != 1 {
		t.Skipf("nothing is measured on kernel %s (KSHM_VM)", kernel)
	}
	o := Options{Rounds: 1, Trial: time.Millisecond, Sizes: []int{64}, CPUs: [2]int{0, 1}, Log: t.Output()}
	report, err := RunIn(t.Context(), o, machines[0], "../..")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, row := range report.Rows {
		if row.Machine != machines[0].Name || row.RecordsPerS <= 0 || row.RatioToC <= 0 || row.RatioToPeer <= 0 {
			t.Errorf("%+v", row)
		}
		seen[row.Workload+" "+row.Peer]++
	}
	for _, want := range []string{"c-to-c kshm", "kernel-to-go kshm", "kernel-to-go-copy kshm", "kernel-to-go-copy read",
		"kernel-to-go-copy bpf-ringbuf", "go-to-kernel kshm", "go-to-kernel write"} {
		if seen[want] != 2 { // batches
			t.Errorf("%d rows of %s, want 2", seen[want], want)
		}
	}
}

// Each machine is judged by its own rows, and only those that were measured.
func TestMachinesApart(t *testing.T) {
	works := []work{
		{workload: cToC, peer: ours, against: cToC, batches: []int{32}},
		{workload: kToGCopy, peer: ours, against: kToGCopy, batches: []int{32}},
		{workload: kToGCopy, peer: "read", against: kToGCopy, batches: []int{32}},
	}
	run := func(machine string, ratio float64) *Report {
		s := newSamples(machine)
		s.add(works, turn{size: 64, batch: 32, probe: near, rates: map[string]float64{"c-to-c kshm": 10, "kernel-to-go-copy kshm": ratio, "kernel-to-go-copy read": 1}})
		return s.report(Options{Sizes: []int{64}, Rounds: 1})
	}
	r := run("uml", 3)
	r.Add(run("qemu", 1.5))
	var verdicts, page bytes.Buffer
	r.Verdicts(&verdicts)
	if !strings.Contains(verdicts.String(), "over batched read(), 64 B to 64 KiB: worst 3.00, at least 2") || strings.Contains(verdicts.String(), "ck_ring") {
		t.Errorf("verdicts:\n%s", &verdicts)
	}
	if err := r.Document(&page, "x.svg"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--machine uml,qemu", "## All rows, uml", "## All rows, qemu", "| near | ≥ 2 | 3.00 | 1 | met |"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, &page)
		}
	}
	if strings.Contains(page.String(), "1.50 |") && strings.Contains(page.String(), "≥ 2 | 1.50") {
		t.Error("the emulated machine is judged by a target of another one")
	}
}
