// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
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

// stuck says where in the kernel a lane is.
func (r *round) stuck(p, lane int) string {
	pid, tid := r.board.procs[p].pid.Load(), r.board.procs[p].lanes[lane].tid.Load()
	stack := text(fmt.Sprintf("/proc/%d/task/%d/stack", pid, tid))
	return fmt.Sprintf("process %d, lane %d is stuck for more than %v:\n%s", p, lane, r.patience, strings.TrimSpace(stack))
}
