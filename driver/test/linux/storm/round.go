// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
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
	smallKills int64
	kills      int64
	wrong      []string
	reports    int64 // of them, complaints of the kernel
	leaks      int64 // of them, things left behind
	script     script.Script
}

// play goes through a round.
func (r *round) play() (o outcome, err error) {
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
	r.count(&o)
	if f := r.board.found(); f != "" {
		o.wrong = append(o.wrong, f)
	}
	left, err := settle(before, r.settleTime)
	o.leaks = int64(len(left))
	if lerr := memlockIsWhole(); err == nil && lerr != nil && len(left) == 0 {
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

// keepAlive starts a process again and again.
func (r *round) keepAlive(p uint32, lives []int) {
	for n := uint32(0); r.follow == nil || int(n) < len(lives); n++ {
		place := script.Place{Round: r.number, Process: p, Life: n}
		o := orders{place: place, seed: r.seed, mix: r.mix, procs: r.procs, lanes: r.lanes}
		if p == script.Weather {
			o.lanes = 1
		}
		if r.follow != nil {
			o.script, o.number, o.lanes = r.path, lives[n], max(1, uint32(len(r.follow.Lives[lives[n]].Lanes)))
		}
		if !r.live(o) {
			return
		}
	}
}

// live is one life of a process, from its start until it is reaped.
func (r *round) live(o orders) bool {
	if o.place.Process == script.Weather {
		if err := clearSky(); err != nil {
			r.board.report(o.place, script.Op{Kind: script.Reload}, "a driver does not load: %v", err)
			return false
		}
	}
	state := &r.board.procs[o.place.Process]
	pid, err := r.spawn(o, state)
	if err != nil {
		r.board.report(o.place, script.Op{}, "a process does not start: %v", err)
	}
	if pid == 0 {
		return false
	}
	r.join(state, o.place.Process, pid)
	// Whoever kills by number must not meet the next owner of the number.
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	state.pid.Store(0)
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	if killed := status.Signaled() && status.Signal() == syscall.SIGKILL; !killed && status != 0 && !lacksThread(status) {
		r.board.report(o.place, script.Op{}, "the process ended with status %#x", uint32(status))
	}
	return r.retire(o.place, state, status.Signaled())
}

// quietly has a process that dies for want of a thread say little.
const quietly = "GOTRACEBACK=none"

// lacksThread reports whether a process may have ended because the weather let
// Go make no thread.
func lacksThread(status syscall.WaitStatus) bool {
	const goFatal = 2
	return status.Exited() && status.ExitStatus() == goFatal && fields(cgroup + "/pids.events")["max"] > 0
}

// spawn starts a process, unless the round is over: then it returns 0.
func (r *round) spawn(o orders, state *procState) (int, error) {
	files := []uintptr{0, 1, 2}
	for _, fd := range r.files[:deviceFD-boardFD] {
		files = append(files, uintptr(fd))
	}
	for _, name := range drivers[:sharedDevice] {
		fd, err := openDevice(name)
		if err != nil { // it is being loaded again
			fd, err = openDevice("probe")
		}
		if err != nil {
			return 0, err
		}
		defer unix.Close(fd)
		files = append(files, uintptr(fd))
	}
	files = append(files, uintptr(r.files[len(r.files)-1]))
	attr := &syscall.ProcAttr{Files: files, Env: append(os.Environ(), ordersVariable+"="+o.String(), quietly)}
	if o.place.Process%2 == 1 {
		attr.Sys = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return 0, nil
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"storm"}, attr)
	if err == nil {
		state.pid.Store(int32(pid))
	}
	return pid, err
}

// join puts a process that has got all its threads into the cgroup whose limits
// the weather moves. It does not wait for one that dies before.
func (r *round) join(state *procState, p uint32, pid int) {
	if p == script.Weather {
		return
	}
	for state.ready.Load() == 0 {
		if exited(pid) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	setFile(cgroup+"/cgroup.procs", fmt.Sprint(pid))
}

// exited reports whether a child has ended, and leaves it to be reaped.
func exited(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err != nil || info.Signo != 0
}

// retire notes what a life has done and clears its place.
func (r *round) retire(place script.Place, state *procState, killed bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := life{place: place}
	for i := range state.lanes {
		lane := &state.lanes[i]
		l.done[i] = lane.begun.Load()
		r.retired += lane.ended.Load()
		lane.begun.Store(0)
		lane.ended.Store(0)
		lane.tid.Store(0)
	}
	state.ready.Store(0)
	if killed && !r.over {
		r.killed++
	}
	r.lives = append(r.lives, l)
	return !r.over
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

// killOrphans ends small children whose lane was killed before them: they have
// become children of this process.
func killOrphans() {
	for {
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, path := range stats {
			_, after, _ := strings.Cut(text(path), ") ")
			if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
				pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == syscall.ECHILD {
				return
			}
			if pid <= 0 && err != syscall.EINTR {
				break
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// count adds up what has been done.
func (r *round) count(o *outcome) {
	o.operations, o.kills = int64(r.retired), r.killed
	for p := range r.board.procs {
		s := &r.board.procs[p]
		o.smallKills += int64(s.kills.Load())
		for k := range s.answers {
			for e := range s.answers[k] {
				r.answers[k][e] += int64(s.answers[k][e].Load())
			}
		}
	}
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
