// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Row is the median of one variant in one regime.
type Row struct {
	Machine     string  `json:"machine"`  // "native", "uml" or "qemu"
	Workload    string  `json:"workload"` // who produces for whom
	Peer        string  `json:"peer"`     // what carried the records; "kshm" is ours
	Size        int     `json:"size"`     // bytes of payload
	Batch       int     `json:"batch"`    // records per publication or system call
	Regime      string  `json:"regime"`   // "near" or "far": the processors at that time
	RecordsPerS float64 `json:"records_per_s"`
	NsPerRecord float64 `json:"ns_per_record"`
	RatioToPeer float64 `json:"ratio_to_peer"`             // ours for the same workload over this one; 0: no common turn
	RatioToC    float64 `json:"ratio_to_c"`                // this one over ours from C to C; 0: no common turn
	ProducerCPU float64 `json:"producer_cpu_ns,omitempty"` // processor time per record, if it was looked at
	ConsumerCPU float64 `json:"consumer_cpu_ns,omitempty"`
	Trials      int     `json:"trials"`            // that counted
	Common      int     `json:"common"`            // turns that each ratio is of; the fewer of the two
	Undisturbed float64 `json:"undisturbed"`       // part of all trials that counted
	RoundTripNs float64 `json:"cache_line_rtt_ns"` // median of the probes
}

// Report is a run.
type Report struct {
	Rows    []Row     `json:"rows"`
	Runs    []RunInfo `json:"runs"`
	Go      string    `json:"go"`
	OS      string    `json:"os"`
	Arch    string    `json:"arch"`
	Started time.Time `json:"started"`
}

// RunInfo says how one machine was measured.
type RunInfo struct {
	Machine string  `json:"machine"`
	Kernel  string  `json:"kernel"` // its release
	About   string  `json:"about"`
	Rounds  int     `json:"rounds"`
	TrialMs float64 `json:"trial_ms"`
}

// Add adds what was measured on another machine.
func (r *Report) Add(other *Report) {
	r.Rows, r.Runs = append(r.Rows, other.Rows...), append(r.Runs, other.Runs...)
}

// ran tells whether a machine was measured.
func (r *Report) ran(machine string) bool {
	return slices.ContainsFunc(r.Runs, func(run RunInfo) bool { return run.Machine == machine })
}

// turn is what all variants did at one size and batch of one round.
type turn struct {
	round, size, batch int
	probe              time.Duration
	rates              map[string]float64 // 0: disturbed
	cpu                map[string][2]float64
}

func (t turn) regime() string {
	if t.probe <= near {
		return "near"
	}
	return "far"
}

type samples struct {
	machine string
	started time.Time
	works   []work
	turns   []turn
}

func newSamples(machine string) *samples {
	return &samples{machine: machine, started: time.Now()}
}

func (s *samples) add(works []work, t turn) {
	s.works = works
	s.turns = append(s.turns, t)
}

func (s *samples) report(o Options) *Report {
	r := &Report{
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Started: s.started.UTC().Truncate(time.Second),
		Runs: []RunInfo{{Machine: s.machine, Kernel: kernelRelease(), About: "this machine itself", Rounds: o.Rounds, TrialMs: float64(o.Trial) / 1e6}},
	}
	for _, regime := range []string{"near", "far"} {
		for _, size := range o.Sizes {
			for _, w := range s.works {
				of, ok := w.size(size, o)
				for _, batch := range w.batches {
					if row, measured := s.row(w, size, batch, regime); ok && measured {
						row.Size = of
						r.Rows = append(r.Rows, row)
					}
				}
			}
		}
	}
	return r
}

// row is the median of one variant; ratios are medians of the ratios of turns.
func (s *samples) row(w work, size, batch int, regime string) (Row, bool) {
	row := Row{Machine: s.machine, Workload: w.workload, Peer: w.peer, Size: size, Batch: batch, Regime: regime}
	var rates, toPeer, toC, probes []float64
	var cpu [2][]float64
	all := 0
	for _, t := range s.turns {
		if t.size != size || t.batch != batch || t.regime() != regime {
			continue
		}
		all++
		mine := t.rates[w.workload+" "+w.peer]
		if mine == 0 {
			continue
		}
		rates = append(rates, mine)
		probes = append(probes, float64(t.probe))
		for side, ns := range t.cpu[w.workload+" "+w.peer] {
			cpu[side] = append(cpu[side], ns)
		}
		if r := t.rates[w.against+" "+ours]; r != 0 {
			toPeer = append(toPeer, r/mine)
		}
		if r := t.rates[cToC+" "+ours]; r != 0 {
			toC = append(toC, mine/r)
		}
	}
	if len(rates) == 0 {
		return row, false
	}
	row.RecordsPerS = median(rates)
	row.NsPerRecord = 1e9 / row.RecordsPerS
	row.RatioToPeer, row.RatioToC, row.RoundTripNs = median(toPeer), median(toC), median(probes)
	row.Common = min(len(toPeer), len(toC))
	row.ProducerCPU, row.ConsumerCPU = median(cpu[0]), median(cpu[1])
	row.Trials, row.Undisturbed = len(rates), float64(len(rates))/float64(all)
	return row, true
}

// median of nothing is 0.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.SortFunc(v, cmp.Compare[float64])
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// JSON writes the report with its rows.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Table writes the rows for people.
func (r *Report) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "machine\tregime\tworkload\tcarrier\tbytes\tbatch\trecords/s\tns/record\tproducer CPU ns\tconsumer CPU ns\tours/this\tthis/C-to-C\ttrials\t")
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%.3g\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%d\t\n", row.Machine, row.Regime, row.Workload, row.Peer,
			row.Size, row.Batch, row.RecordsPerS, row.NsPerRecord, row.ProducerCPU, row.ConsumerCPU, row.RatioToPeer, row.RatioToC, row.Trials)
	}
	return t.Flush()
}

// Benchstat writes lines in the format of Go benchmarks.
func (r *Report) Benchstat(w io.Writer) error {
	fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: kshm/ring\n", r.OS, r.Arch)
	for _, row := range r.Rows {
		_, err := fmt.Fprintf(w, "BenchmarkRing/%s/%s/%s/size=%d/batch=%d/%s %d %.2f ns/op %.2f MB/s\n", row.Machine, row.Workload, row.Peer,
			row.Size, row.Batch, row.Regime, row.Trials, row.NsPerRecord, row.RecordsPerS*float64(row.Size)/1e6)
		if err != nil {
			return err
		}
	}
	return nil
}

func kernelRelease() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(b))
}
