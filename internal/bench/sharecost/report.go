// SPDX-License-Identifier: MIT

package sharecost

import (
	"cmp"
	"slices"
	"time"
)

// A Round is what one turn of everybody took, in nanoseconds.
type Round struct {
	Share, Done, Close float64 // the calls, from user mode
	Pin, Map           float64 // parts of SHARE, as STATS tells them
	BarePin, BareMap   float64 // without anything around them
	BareUnmap          float64
	BareUnpin          float64
	Register           float64 // io_uring's calls, from user mode
	Unregister         float64
}

// Total is a whole share.
func (r Round) Total() float64 { return r.Share + r.Done + r.Close }

// Unpin is DONE without unmapping, which is taken from the bare round beside.
// What else ends a share, stop() among it, counts as unpinning.
func (r Round) Unpin() float64 { return r.Done - r.BareUnmap }

// Rest of a share is its descriptor, its callbacks and two system calls.
func (r Round) Rest() float64 { return r.Share - r.Pin - r.Map + r.Close }

// Uring is a whole registration.
func (r Round) Uring() float64 { return r.Register + r.Unregister }

// The kinds of pages.
const (
	Small   = "4 KiB"
	HugeTLB = "2 MiB (hugetlb)"
	THP     = "2 MiB (THP)"
)

// A Row holds the medians of one size and kind of pages.
type Row struct {
	Pages  string `json:"pages"`
	Size   int    `json:"size"`
	Rounds int    `json:"rounds"`
	Median Round  `json:"median"`

	PinUnpinRatio float64 `json:"pin_unpin_ratio"` // to io_uring; medians of ratios of rounds
	TotalRatio    float64 `json:"total_ratio"`
}

// A Report is a run.
type Report struct {
	Kernel  string    `json:"kernel"`
	CPU     string    `json:"cpu"` // as the kernel sees it
	Started time.Time `json:"started"`
	// Rows are of the faster half of the rounds, else of all of them.
	FasterHalf bool  `json:"faster_half"`
	Rows       []Row `json:"rows"`
}

// all is what everybody took in a round.
func (r Round) all() float64 {
	return r.Total() + r.Uring() + r.BarePin + r.BareMap + r.BareUnmap + r.BareUnpin
}

// undisturbed is the faster half of the rounds: whatever else the machine does
// only ever adds, and to everybody in turn.
func undisturbed(rounds []Round) []Round {
	sorted := slices.SortedFunc(slices.Values(rounds), func(a, b Round) int { return cmp.Compare(a.all(), b.all()) })
	return sorted[:(len(sorted)+1)/2]
}

// NewRow makes a row of rounds, the faster half of which counts.
func NewRow(pages string, size int, rounds []Round) Row {
	rounds = undisturbed(rounds)
	of := func(value func(Round) float64) float64 {
		all := make([]float64, len(rounds))
		for i, r := range rounds {
			all[i] = value(r)
		}
		return median(all)
	}
	return Row{
		Pages: pages, Size: size, Rounds: len(rounds),
		Median: Round{
			Share:      of(func(r Round) float64 { return r.Share }),
			Done:       of(func(r Round) float64 { return r.Done }),
			Close:      of(func(r Round) float64 { return r.Close }),
			Pin:        of(func(r Round) float64 { return r.Pin }),
			Map:        of(func(r Round) float64 { return r.Map }),
			BarePin:    of(func(r Round) float64 { return r.BarePin }),
			BareMap:    of(func(r Round) float64 { return r.BareMap }),
			BareUnmap:  of(func(r Round) float64 { return r.BareUnmap }),
			BareUnpin:  of(func(r Round) float64 { return r.BareUnpin }),
			Register:   of(func(r Round) float64 { return r.Register }),
			Unregister: of(func(r Round) float64 { return r.Unregister }),
		},
		PinUnpinRatio: of(func(r Round) float64 { return (r.Pin + r.Unpin()) / r.Uring() }),
		TotalRatio:    of(func(r Round) float64 { return r.Total() / r.Uring() }),
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.SortFunc(v, cmp.Compare[float64])
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}
