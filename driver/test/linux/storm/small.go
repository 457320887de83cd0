// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
	"kshm/internal/abi"
)

// A small child is a fork that makes a list of system calls and nothing else:
// no line of Go that could want memory, a lock or another thread runs in it.
// Such a child costs little, so it can be killed as often as one likes.

// A call is one system call of a small child.
type call struct {
	nr   uintptr
	args [3]uintptr
	use  int8 // result of which earlier call replaces the first argument; 0: none
}

const maxCalls = 7

// fork starts a small child and returns its number. The child goes through
// calls, up to the one without a number: there it waits to be killed, or starts
// again. It counts its calls in its parent's lane, and the shares it has made.
//
//go:nosplit
//go:norace
func fork(calls *[maxCalls]call, again bool, parent *laneState) (uintptr, syscall.Errno) {
	pid, _, err := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if pid != 0 || err != 0 {
		return pid, err
	}
	var results [maxCalls + 1]uintptr
	for {
		for i := 0; i < maxCalls && calls[i].nr != noCall; i++ {
			first := calls[i].args[0]
			if calls[i].use != 0 {
				first = results[calls[i].use]
			}
			results[i+1], _, err = syscall.RawSyscall(calls[i].nr, first, calls[i].args[1], calls[i].args[2])
			if err == 0 && calls[i].nr == unix.SYS_IOCTL && calls[i].args[1] == abi.IoctlShare {
				parent.shared.Add(1)
			}
			parent.progress.Add(1)
		}
		for !again {
			syscall.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0) // for ever
		}
	}
}

const noCall = ^uintptr(0)

// howExec is the small child that turns into an heir, and heirCalls is how many
// calls it has made if it does not.
const (
	howExec   = 6
	heirCalls = 5
)

// doFork makes a small child that shares memory of its own, kills it when it has
// made so many calls, and waits for its end.
func (l *lane) doFork(a *[script.MaxArgs]uint32) syscall.Errno {
	l.prepare(a)
	l.state.progress.Store(0)
	l.state.shared.Store(0)
	pid, err := fork(&l.calls, a[3] == 1, l.state)
	if err != 0 {
		return err
	}
	if a[3] == howExec && a[4] > 0 { // else within exec, or before
		l.awaitHeir(pid)
	}
	for tries := 0; l.state.progress.Load() < a[4] && tries < 10_000; tries++ {
		raw(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
	raw(unix.SYS_KILL, pid, uintptr(unix.SIGKILL), 0)
	for {
		_, err = raw6(unix.SYS_WAIT4, pid, uintptr(unsafe.Pointer(&l.buffer)), unix.WALL, 0, 0, 0)
		if err != unix.EINTR {
			break
		}
	}
	status := *(*uint32)(unsafe.Pointer(&l.buffer))
	if err == 0 && status&0x7f == uint32(unix.SIGKILL) {
		l.countKill()
	}
	return err
}

// countKill counts the small child that has just been killed: one that had not
// shared shows little, so it counts apart.
func (l *lane) countKill() {
	if l.state.shared.Load() > 0 {
		l.process.state.kills.Add(1)
	} else {
		l.process.state.early.Add(1)
	}
}

// prepare writes down what the small child does.
func (l *lane) prepare(a *[script.MaxArgs]uint32) {
	device := uintptr(l.device(a[1]))
	inherited := uintptr(l.slots[a[2]].Load())
	l.shareArgs(areaAt(a[0]), 4*pageSize, cookieBase+uint64(a[0]))
	l.cmd = abi.ShareCmd{Size: abi.SizeofShareCmd}
	share := call{unix.SYS_IOCTL, [3]uintptr{device, abi.IoctlShare, uintptr(unsafe.Pointer(&l.share))}, 0}
	on := func(command uintptr, use int8) call {
		return call{unix.SYS_IOCTL, [3]uintptr{inherited, command, uintptr(unsafe.Pointer(&l.cmd))}, use}
	}
	// Whose parent dies first must not stay, and the storm sees to the rest.
	mortal := call{unix.SYS_PRCTL, [3]uintptr{unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0}, 0}
	end := call{nr: noCall}
	mute := call{unix.SYS_CLOSE, [3]uintptr{2}, 0} // when the weather lets Go make no thread
	switch a[3] {
	case 0, 4, 5:
		l.calls = [maxCalls]call{mortal, share, on(abi.IoctlKick, 2), share, end}
	case 1: // in a loop: killed in the middle of anything
		l.calls = [maxCalls]call{mortal, share, on(abi.IoctlKick, 2), on(abi.IoctlDone, 2), {unix.SYS_CLOSE, [3]uintptr{}, 2}, end}
	case 2: // what the parent has shared
		l.calls = [maxCalls]call{mortal, on(abi.IoctlKick, 0), share, on(abi.IoctlDone, 0), end}
	case 3:
		l.calls = [maxCalls]call{mortal, share, {unix.SYS_EXIT_GROUP, [3]uintptr{}, 0}, end}
	case howExec: // the share's memory goes with the program, its descriptor stays
		l.calls = [maxCalls]call{mortal, share, {unix.SYS_DUP3, [3]uintptr{0, heirFD, 0}, 2}, mute, l.heir(), end}
	case 7: // a share whose memory goes first, and an exec of nothing
		l.calls = [maxCalls]call{mortal, share, {unix.SYS_MUNMAP, [3]uintptr{areaAt(a[0]), 2 * pageSize, 0}, 0}, {unix.SYS_EXECVE, [3]uintptr{}, 0}, share, end}
	}
}
