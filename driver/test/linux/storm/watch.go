// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"kshm/driver/test/linux/storm/script"
)

// A watchdog notices lanes that stay in one operation, and processes that have
// been killed and do not end.
type watchdog struct {
	round  *round
	latest [script.MaxProcs][script.MaxLanes]glance
}

type glance struct {
	pid   int32
	begun uint64
	since time.Time
}

// watch waits until enough has been done, or something went wrong.
func (r *round) watch(o *outcome) {
	dog := watchdog{round: r}
	finished := make(chan struct{})
	if r.follow != nil {
		go func() { r.threads.Wait(); close(finished) }()
	}
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-finished:
			return
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		if r.board.found() != "" || r.follow == nil && r.done() >= r.perRound {
			return
		}
		if s := dog.look(); s != "" {
			o.wrong = append(o.wrong, s)
			return
		}
	}
}

// look returns what is stuck, "" if nothing is.
func (d *watchdog) look() string {
	now := time.Now()
	for p := range d.latest {
		state := &d.round.board.procs[p]
		pid := state.pid.Load()
		for i := range d.latest[p] {
			l := &state.lanes[i]
			g := &d.latest[p][i]
			begun := l.begun.Load()
			if pid == 0 || pid != g.pid || begun != g.begun || begun == l.ended.Load() {
				*g = glance{pid, begun, now}
			} else if now.Sub(g.since) > d.round.patience {
				return d.round.stuck(p, i)
			}
		}
	}
	return ""
}

// stuck says what a lane is doing, and where in the kernel the threads of its
// process are: an operation that uses more of Go than bare system calls may be
// in another thread than the lane's.
func (r *round) stuck(p, lane int) string {
	state := &r.board.procs[p]
	var b strings.Builder
	fmt.Fprintf(&b, "process %d, lane %d (thread %d) is stuck for more than %v in %v",
		p, lane, state.lanes[lane].tid.Load(), r.patience, state.lanes[lane].op)
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stack", state.pid.Load()))
	for _, path := range threads {
		fmt.Fprintf(&b, "\n%s:\n%s", path, strings.TrimSpace(text(path)))
	}
	return b.String()
}
