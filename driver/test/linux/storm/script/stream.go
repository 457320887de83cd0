// SPDX-License-Identifier: MIT

package script

import "math/rand/v2"

// A Place says whose stream it is: the storm's round, a process, its life (a
// process that dies is started again) and a thread of it.
type Place struct {
	Round, Process, Life, Lane uint32
}

// Weather is the process that does to the machine what no ordinary one may.
const Weather = 0

// A Mix says how often, per million operations of ordinary processes, a small
// child is made and killed, and a process.
type Mix struct {
	Forks, Kills int
}

// A Stream makes the operations of one lane, one after the other, without
// allocating memory.
type Stream struct {
	r       *rand.Rand
	weights [NumKinds]int
	total   int
	mix     Mix
	weather bool
}

// NewStream returns the stream of a place. Equal seeds, mixes and places give
// equal streams.
func NewStream(seed uint64, mix Mix, p Place) *Stream {
	place := uint64(p.Round)<<40 ^ uint64(p.Process)<<32 ^ uint64(p.Life)<<8 ^ uint64(p.Lane)
	s := &Stream{r: rand.New(rand.NewPCG(seed, place)), mix: mix, weather: p.Process == Weather}
	for k, spec := range Kinds {
		s.weights[k] = spec.Weight
		if s.weather {
			s.weights[k] = spec.Weather
		}
		s.total += s.weights[k]
	}
	return s
}

// Next returns the next operation.
func (s *Stream) Next() Op {
	op := Op{Kind: s.kind()}
	for i, a := range Kinds[op.Kind].Args {
		op.Arg[i] = s.r.Uint32N(a.Limit)
	}
	return op
}

func (s *Stream) kind() Kind {
	if !s.weather {
		switch n := s.r.IntN(1_000_000); {
		case n < s.mix.Forks:
			return Fork
		case n < s.mix.Forks+s.mix.Kills:
			return Kill
		}
	}
	n := s.r.IntN(s.total)
	k := Kind(0)
	for ; n >= s.weights[k]; k++ {
		n -= s.weights[k]
	}
	return k
}
