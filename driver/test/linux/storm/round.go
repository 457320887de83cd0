// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// A round is a storm of its own: processes are started, and started again when
// they die, until enough has been done; then all end, and the machine has to be
// as it was before.
type round struct {
	*storm
	number  uint32
	follow  *script.Script // instead of streams
	path    string         // of its text
	board   *board
	files   []int // what processes inherit: see boardFD; the shared device last
	mu      sync.Mutex
	lives   []life
	over    bool
	retired uint64 // operations of those lives
	killed  int64  // processes, before the end
	threads sync.WaitGroup
}

// A life is one that is over.
type life struct {
	place script.Place
	done  [script.MaxLanes]uint64 // operations, the one that was interrupted included
}

// An outcome is what a round came to.
type outcome struct {
	operations int64
	smallKills int64 // of children that had shared
	earlyKills int64 // of those that had not
	kills      int64
	wrong      []string
	reports    int64 // of them, complaints of the kernel
	leaks      int64 // of them, things left behind
	script     script.Script
}

func (o *outcome) add(more *outcome) {
	o.operations += more.operations
	o.smallKills += more.smallKills
	o.earlyKills += more.earlyKills
	o.kills += more.kills
	o.reports += more.reports
	o.leaks += more.leaks
}

// play goes through a round.
func (r *round) play() (o outcome, err error) {
	r.played++
	before, err := takeTally()
	if err != nil {
		return o, err
	}
	if err := r.begin(); err != nil {
		return o, err
	}
	r.watch(&o)
	if err := r.end(); err != nil {
		return o, err
	}
	o.wrong = append(o.wrong, r.count(&o)...)
	if f := r.board.found(); f != "" {
		o.wrong = append(o.wrong, f)
	}
	left, err := settle(before, r.settleTime)
	o.leaks = int64(len(left))
	if lerr := limitsAreWhole(); err == nil && lerr != nil && len(left) == 0 {
		left = append(left, lerr.Error())
		o.leaks++
	}
	reports := r.journal.complaints()
	o.reports = int64(len(reports))
	o.wrong = append(append(o.wrong, left...), reports...)
	if len(o.wrong) > 0 && r.follow == nil {
		o.script = r.record()
	}
	r.board.unmap()
	return o, err
}

// begin makes what processes inherit, and starts them.
func (r *round) begin() error {
	fd, b, err := newBoard()
	if err != nil {
		return err
	}
	r.board, r.files = b, []int{fd, r.noise}
	for range script.Sockets / 2 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		r.files = append(r.files, pair[0], pair[1])
	}
	device, err := openDevice(drivers[sharedDevice])
	if err != nil {
		return err
	}
	r.files = append(r.files, device)
	for p := range script.MaxProcs {
		if lives := r.livesOf(uint32(p)); lives != nil {
			r.threads.Go(func() { r.keepAlive(uint32(p), lives) })
		}
	}
	return nil
}

// livesOf lists the numbers of a process's lives in the script; nil if there is
// no such process, and an empty list where streams never end.
func (r *round) livesOf(p uint32) []int {
	if r.follow == nil {
		if p < r.procs {
			return []int{}
		}
		return nil
	}
	var list []int
	for i, l := range r.follow.Lives {
		if l.Process == p {
			list = append(list, i)
		}
	}
	return list
}

func openDevice(name string) (int, error) {
	return unix.Open("/dev/kshm/"+name, unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// done is how many operations have ended.
func (r *round) done() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.retired
	for p := range r.board.procs {
		for i := range r.board.procs[p].lanes {
			n += r.board.procs[p].lanes[i].ended.Load()
		}
	}
	return n
}

// end lets all processes end: half of the rounds by killing them all.
func (r *round) end() error {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.board.stop.Store(1)
	deadline := time.Now().Add(2 * time.Second)
	if r.number%2 == 1 {
		deadline = time.Now()
	}
	done := make(chan struct{})
	go func() { r.threads.Wait(); close(done) }()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(time.Until(deadline)):
			for p := range r.board.procs {
				if pid := r.board.procs[p].pid.Load(); pid > 1 {
					unix.Kill(int(pid), unix.SIGKILL)
				}
			}
			deadline = time.Now().Add(100 * time.Millisecond)
		}
	}
	for i, fd := range r.files {
		if i != noiseFD-boardFD {
			unix.Close(fd)
		}
	}
	killOrphans()
	return clearSky()
}

// count adds up what has been done, and lists what never was.
func (r *round) count(o *outcome) (list []string) {
	var answers [script.NumKinds][maxErrno]int64
	o.operations, o.kills = int64(r.retired), r.killed
	for p := range r.board.procs {
		s := &r.board.procs[p]
		o.smallKills += int64(s.kills.Load())
		o.earlyKills += int64(s.early.Load())
		for k := range s.answers {
			for e := range s.answers[k] {
				answers[k][e] += int64(s.answers[k][e].Load())
				r.answers[k][e] += int64(s.answers[k][e].Load())
			}
		}
	}
	for e := range r.effects {
		r.effects[e].times += int64(r.board.effects[e].times.Load())
		r.effects[e].done += int64(r.board.effects[e].done.Load())
	}
	for _, name := range neverOf(mustGoOn, &answers, enoughRound) {
		list = append(list, "in a whole round, nothing of this has succeeded: "+name)
	}
	return list
}

// record makes a script of what the lanes have done.
func (r *round) record() (s script.Script) {
	for _, l := range r.lives {
		life := script.Life{Process: l.place.Process}
		for i := range r.lanes {
			place := l.place
			place.Lane = i
			stream := script.NewStream(r.seed, r.mix, place)
			ops := make([]script.Op, 0, l.done[i])
			for range l.done[i] {
				ops = append(ops, stream.Next())
			}
			life.Lanes = append(life.Lanes, ops)
		}
		s.Lives = append(s.Lives, life)
	}
	return s
}
