// SPDX-License-Identifier: MIT

//go:build linux

package bench

import "runtime"

// A pair of processors: the producer's and the consumer's.
type pair struct {
	cpus  [2]int
	alone bool // nothing else runs on them, so nobody needs to go first
}

// onCPU runs f on one processor, before everything else that wants it. The
// thread is given up afterwards.
func (p pair) onCPU(which int, r *result, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := pin(p.cpus[which]); err != nil {
			done <- err
			return
		}
		if !p.alone {
			defer goFirst()()
		}
		before, spent := preempted(), threadTime()
		err := f()
		r.cpu[which] += threadTime() - spent
		if !p.alone {
			r.preempted += preempted() - before
		}
		done <- err
	}()
	return <-done
}

// together runs a producer and a consumer on their processors.
func (p pair) together(produce func() error, consume func(*result) error) (result, error) {
	var mine, r result
	done := make(chan error, 1)
	go func() { done <- p.onCPU(0, &mine, produce) }()
	err := p.onCPU(1, &r, func() error { return consume(&r) })
	if other := <-done; err == nil {
		err = other
	}
	r.preempted += mine.preempted
	r.cpu[0] += mine.cpu[0]
	return r, err
}
