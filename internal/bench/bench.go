// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Options say what to measure.
type Options struct {
	Rounds int           // of all variants
	Trial  time.Duration // one variant's turn
	Sizes  []int         // bytes per record, multiples of 8
	CPUs   [2]int        // producer's and consumer's processor
	urgent bool          // the machine that is started goes before everything else
	Source string        // folder driver/test/ring of the repository
	Log    io.Writer     `json:"-"` // progress and what is missing
}

// Quick ends within a minute.
func Quick() Options {
	return Options{Rounds: 25, Trial: 4 * time.Millisecond, Sizes: []int{64, 256, 1024}, CPUs: [2]int{0, 1}}
}

// Full takes some minutes.
func Full() Options {
	return Options{Rounds: 75, Trial: 6 * time.Millisecond, Sizes: []int{64, 256, 1024, 4096, 16384}, CPUs: [2]int{0, 1}}
}

// capacity is that of all rings and pipes that can be told, in bytes.
const capacity = 256 << 10

// Native is the machine of this process.
const Native = "native"

// near is the longest cache-line round trip of processors that are near.
const near = 250 * time.Nanosecond

// work is one kind of trial. Each size and batch is a case of its own.
type work struct {
	workload string // who produces for whom
	peer     string // what carries the records
	against  string // the workload of ours that does the same work
	batches  []int
	run      func(ctx context.Context, c trialCase) (result, error)
}

// size is that of its records, in bytes, and whether it takes part in a turn.
// What asks how long one word takes, on its own, has its turn once for all sizes.
func (w work) size(turn int, o Options) (int, bool) {
	if w.workload == trip || w.workload == bare {
		return 8, turn == o.Sizes[0]
	}
	return turn, true
}

type trialCase struct {
	size, batch int
	trial       time.Duration
}

// result is one trial.
type result struct {
	records   uint64
	took      time.Duration
	preempted uint64
	cpu       [2]time.Duration // processor time of producer and consumer, where it was looked at
}

// cpuPerRecord is in nanoseconds.
func (r result) cpuPerRecord() (ns [2]float64) {
	if r.records > 0 {
		for side, spent := range r.cpu {
			ns[side] = float64(spent) / float64(r.records)
		}
	}
	return ns
}

// rate is in records per second; 0 for a trial that does not count.
func (r result) rate() float64 {
	if r.preempted != 0 || r.took <= 0 {
		return 0
	}
	return float64(r.records) / r.took.Seconds()
}

// Run measures all of it.
func Run(ctx context.Context, o Options) (*Report, error) {
	l, err := newLab(ctx, o)
	if err != nil {
		return nil, err
	}
	defer l.close()
	return measure(ctx, o, Native, l)
}

// A bed is where trials run.
type bed interface {
	works() []work
	probe() (time.Duration, error) // a bare cache-line round trip
}

// measure gives all variants of a bed their turns.
func measure(ctx context.Context, o Options, machine string, b bed) (*Report, error) {
	works := b.works()
	s := newSamples(machine)
	for round := range o.Rounds {
		for _, size := range o.Sizes {
			for _, batch := range []int{1, 32} {
				if err := s.round(ctx, o, b, works, turn{round: round, size: size, batch: batch}); err != nil {
					return nil, err
				}
			}
		}
		fmt.Fprintf(o.Log, "\r%s: round %d of %d", machine, round+1, o.Rounds)
	}
	fmt.Fprintln(o.Log)
	return s.report(o), nil
}

// round gives each variant its turn at one size and batch.
func (s *samples) round(ctx context.Context, o Options, bed bed, works []work, turn turn) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	turn.probe, err = bed.probe()
	if err != nil {
		return err
	}
	turn.rates, turn.cpu = map[string]float64{}, map[string][2]float64{}
	for _, w := range works {
		size, ok := w.size(turn.size, o)
		for _, b := range w.batches {
			if b != turn.batch || !ok {
				continue
			}
			r, err := w.run(ctx, trialCase{size: size, batch: b, trial: o.Trial})
			if err != nil {
				return fmt.Errorf("bench: %s, %s, %d bytes, batch %d: %w", w.workload, w.peer, size, b, err)
			}
			turn.rates[w.workload+" "+w.peer] = r.rate()
			turn.cpu[w.workload+" "+w.peer] = r.cpuPerRecord()
		}
	}
	s.add(works, turn)
	return nil
}
