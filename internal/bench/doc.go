// SPDX-License-Identifier: MIT

// Package bench measures the rings of package ring and of kshm_ring.h against
// each other and against what others offer for the same work.
//
// The machines it runs on change under it: two processors are near to each
// other now and far a minute later, and the rates move by a factor of ten. So
// each trial takes a few milliseconds, all variants take turns, both threads
// are pinned and run before everything else (where that is allowed), a bare
// ping-pong of one cache line before each round says near or far, a trial in
// which the scheduler interfered is not counted, and only medians of ratios of
// one round are compared. Every payload is written and summed word by word.
//
// It needs Linux.
package bench
