// SPDX-License-Identifier: MIT

package script

import "slices"

// Shrink looks for a short script that fails as s does, by leaving out whole
// lives, then lanes, then operations in ever smaller pieces, and by making
// arguments 0. It asks fails about each candidate, and stops early, with the
// best so far, when stop says so. What it returns has failed, if s has.
func Shrink(s Script, fails func(Script) bool, stop func() bool) Script {
	try := func(c Script) bool { return !stop() && fails(c) }
	best := s
	lives := minimize(best.Lives, func(l []Life) bool { return try(Script{l}) })
	best = Script{lives}
	// In turns, since what one step leaves out may set another's free.
	for before := -1; before != best.Len() && !stop(); {
		before = best.Len()
		best = shrinkPieces(best, lanesOf(best), try)
		best = shrinkPieces(best, opsOf(best), try)
		best = tidy(best, try)
	}
	return zeroArguments(best, try)
}

// A piece is operations from..to of a lane.
type piece struct{ life, lane, from, to int }

func lanesOf(s Script) (all []piece) {
	for i, l := range s.Lives {
		for j, ops := range l.Lanes {
			all = append(all, piece{i, j, 0, len(ops)})
		}
	}
	return all
}

func opsOf(s Script) (all []piece) {
	for _, p := range lanesOf(s) {
		for k := range p.to {
			all = append(all, piece{p.life, p.lane, k, k + 1})
		}
	}
	return all
}

// shrinkPieces keeps as few of the pieces of s as it can.
func shrinkPieces(s Script, all []piece, try func(Script) bool) Script {
	return pick(s, minimize(all, func(p []piece) bool { return try(pick(s, p)) }))
}

// pick returns the script of the given pieces of s, in the same lanes.
func pick(s Script, pieces []piece) Script {
	c := Script{Lives: make([]Life, len(s.Lives))}
	for i, l := range s.Lives {
		c.Lives[i] = Life{l.Process, make([][]Op, len(l.Lanes))}
	}
	for _, p := range pieces {
		to := &c.Lives[p.life].Lanes[p.lane]
		*to = append(*to, s.Lives[p.life].Lanes[p.lane][p.from:p.to]...)
	}
	return c
}

// tidy leaves out empty lanes and lives, unless that matters.
func tidy(s Script, try func(Script) bool) Script {
	var c Script
	for _, l := range s.Lives {
		lanes := slices.DeleteFunc(slices.Clone(l.Lanes), func(ops []Op) bool { return len(ops) == 0 })
		if len(lanes) > 0 {
			c.Lives = append(c.Lives, Life{l.Process, lanes})
		}
	}
	if len(opsOf(c)) > 0 && try(c) {
		return c
	}
	return s
}

// minimize returns a part of items, in order, that fails and from which no
// single item can be left out: the algorithm known as ddmin. If items alone do
// not fail, that is all of them.
func minimize[T any](items []T, fails func([]T) bool) []T {
	for size := (len(items) + 1) / 2; size > 0 && len(items) > 1; {
		smaller := false
		for from := 0; from < len(items) && len(items) > 1; {
			to := min(from+size, len(items))
			without := slices.Concat(items[:from], items[to:])
			if len(without) > 0 && fails(without) {
				items, smaller = without, true
			} else {
				from = to
			}
		}
		if !smaller || size > len(items) {
			size = min(size/2, (len(items)+1)/2)
		}
	}
	return items
}

// zeroArguments makes every argument 0 that need not be anything else.
func zeroArguments(s Script, try func(Script) bool) Script {
	best := pick(s, lanesOf(s))
	for _, p := range opsOf(best) {
		op := &best.Lives[p.life].Lanes[p.lane][p.from]
		for i := range op.Arg {
			if was := op.Arg[i]; was != 0 {
				op.Arg[i] = 0
				if !try(best) {
					op.Arg[i] = was
				}
			}
		}
	}
	return best
}
