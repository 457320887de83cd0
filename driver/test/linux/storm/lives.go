// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

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
	status := reap(pid, state)
	killed := status.Signaled() && status.Signal() == syscall.SIGKILL
	if !killed && status != 0 && !lacksThread(status) {
		r.board.report(o.place, script.Op{}, "the process ended with status %#x", uint32(status))
	}
	return r.retire(o.place, state, killed)
}

// reap waits for the end of a process. Whoever kills by number must not meet the
// next owner of the number, so the number is hidden while it is still taken.
func reap(pid int, state *procState) (status syscall.WaitStatus) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	state.pid.Store(0)
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			return status
		}
	}
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
	if err := setFile(cgroup+"/cgroup.procs", fmt.Sprint(pid)); err != unix.ESRCH {
		r.board.effects[joined].note(err)
	}
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
