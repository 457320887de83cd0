// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// One round of everything: every variant carries records, and all the ways to
// write the report work. How fast it was does not matter here.
func TestRun(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("gcc is missing")
		}
		t.Skip("gcc is missing: the C side cannot be built")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("one processor: there is nobody to share with")
	}
	o := Options{Rounds: 1, Trial: time.Millisecond, Sizes: []int{64}, CPUs: [2]int{0, 1}, Source: "../../driver/test/ring", Log: t.Output()}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := newLab(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, w := range l.works() {
		for _, batch := range w.batches {
			r, err := w.run(ctx, trialCase{size: 64, batch: batch, trial: o.Trial})
			if err != nil || r.records == 0 || r.took <= 0 {
				t.Errorf("%s, %s, batch %d: %+v, %v", w.workload, w.peer, batch, r, err)
			}
		}
	}
	report, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := report.JSON(&out); err != nil || !json.Valid(out.Bytes()) {
		t.Errorf("JSON: %v", err)
	}
}

// The report of turns that are known.
func TestReport(t *testing.T) {
	s := newSamples(Native)
	works := []work{
		{workload: cToC, peer: ours, against: cToC, batches: []int{1}},
		{workload: cToC, peer: "ck_ring", against: cToC, batches: []int{1}},
	}
	for i, rates := range [][2]float64{{100, 50}, {300, 100}, {0, 70}, {80, 80}} {
		probe := near
		if i == 3 {
			probe = near + 1
		}
		s.add(works, turn{round: i, size: 64, batch: 1, probe: probe, rates: map[string]float64{"c-to-c kshm": rates[0], "c-to-c ck_ring": rates[1]}})
	}
	r := s.report(Options{Sizes: []int{64}, Rounds: 4})
	if len(r.Rows) != 4 {
		t.Fatalf("%d rows, want ours and theirs, near and far", len(r.Rows))
	}
	ck := r.Rows[1]
	if ck.Peer != "ck_ring" || ck.Regime != "near" || ck.RecordsPerS != 70 || ck.RatioToPeer != 2.5 || math.Abs(ck.RatioToC-5./12) > 1e-9 || ck.Trials != 3 || ck.Common != 2 {
		t.Errorf("got %+v", ck)
	}
	var verdicts, page, lines bytes.Buffer
	r.Verdicts(&verdicts)
	if !strings.Contains(verdicts.String(), "met           native  near  C to C over ck_ring: worst 2.50, at least 1, of 2 trials\n") || !strings.Contains(verdicts.String(), "not measured  native  near  C to C over rte_ring") {
		t.Errorf("verdicts:\n%s", &verdicts)
	}
	if err := r.Document(&page, "x.svg"); err != nil || !strings.Contains(page.String(), "| near | c-to-c | ck_ring | 64 | 1 | 70 |") {
		t.Errorf("page: %v\n%s", err, &page)
	}
	for _, line := range []string{
		"| C to C over ck_ring | near | ≥ 1 | 2.50 | 2 | met |",
		"| C to C over rte_ring | near | ≥ 1 | – | 0 | not measured: no trial in this regime was undisturbed |",
	} {
		if !strings.Contains(page.String(), line) {
			t.Errorf("the page lacks %q", line)
		}
	}
	if err := r.Benchstat(&lines); err != nil || !strings.Contains(lines.String(), "BenchmarkRing/native/c-to-c/ck_ring/size=64/batch=1/near 3 ") {
		t.Errorf("benchstat: %v\n%s", err, &lines)
	}
	if err := r.Picture(t.TempDir() + "/picture"); err != nil {
		t.Error(err)
	}
}
