// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
	"kshm/internal/abi"
)

// An heir is the program that a small child turns into by exec, with its share's
// descriptor. The share behind it is over, since its address space is.

const heirVariable = "KSHM_STORM_HEIR"

const heirFormat = "%d %d %d %d"

// heirFD is where an heir finds the share. A process has a file of its own at
// that number, so that SHARE cannot return it, and dup3 is not asked for nothing.
const heirFD = deviceFD + sharedDevice + 1

var (
	heirPath = cstring("/proc/self/exe")
	heirArgs = [2]*byte{cstring("heir")}
)

func cstring(s string) *byte {
	p, _ := syscall.BytePtrFromString(s)
	return p
}

// heirEnvironment tells an heir whose it is.
func heirEnvironment(p script.Place) [2]*byte {
	place := fmt.Sprintf(heirFormat, p.Round, p.Process, p.Life, p.Lane)
	return [2]*byte{cstring(heirVariable + "=" + place)}
}

// heir is the call that turns a small child into one.
func (l *lane) heir() call {
	return call{unix.SYS_EXECVE, [3]uintptr{uintptr(unsafe.Pointer(heirPath)), uintptr(unsafe.Pointer(&heirArgs)), uintptr(unsafe.Pointer(&l.heirEnv))}, 0}
}

// awaitHeir waits until the heir that a small child turns into has done its part,
// or will not any more. Whether that takes too long is for the watchdog to say.
func (l *lane) awaitHeir(pid uintptr) {
	l.board.effects[inherited].times.Add(1)
	for l.board.stop.Load() == 0 && l.state.heir.Load() != uint32(pid) && l.state.progress.Load() < heirCalls && !l.ended(pid) {
		l.timeout = unix.Timespec{Nsec: 1e6}
		raw(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&l.timeout)), 0, 0)
	}
}

// ended reports whether a small child has ended, and leaves it to be reaped.
func (l *lane) ended(pid uintptr) bool {
	clear(l.buffer[:4]) // where the signal's number comes
	_, err := raw6(unix.SYS_WAITID, unix.P_PID, pid, uintptr(unsafe.Pointer(&l.buffer)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, 0, 0)
	return err != 0 && err != unix.EINTR || *(*int32)(unsafe.Pointer(&l.buffer)) != 0
}

// playHeir holds the kit to the end of what was inherited, and waits to be killed.
func playHeir(text string) error {
	var p script.Place
	if _, err := fmt.Sscanf(text, heirFormat, &p.Round, &p.Process, &p.Life, &p.Lane); err != nil {
		return err
	}
	b, err := mapBoard(boardFD)
	if err != nil {
		return err
	}
	state := &b.procs[p.Process].lanes[p.Lane]
	reason, wrong := inherit()
	if wrong != "" {
		b.report(p, state.op, "after exec: %s", wrong)
	}
	if reason == abi.EndExit {
		b.effects[inherited].done.Add(1)
	}
	state.heir.Store(uint32(os.Getpid()))
	time.Sleep(time.Second) // for whom nobody kills
	return nil
}

// workerTime is how long, in ms, an end may take that is not exec's own to make:
// who looks at the address space in that moment, as reclaim does, leaves it to a
// worker.
const workerTime = 60_000

// inherit says why the inherited share has ended, if there is one. Its end may
// have been begun by somebody else, and not be over: then this waits.
func inherit() (reason uint32, wrong string) {
	var s abi.Stats
	ask := func() syscall.Errno {
		s = abi.Stats{Size: abi.SizeofStats}
		_, err := ioctl(heirFD, abi.IoctlStats, unsafe.Pointer(&s))
		return err
	}
	if ask() != 0 {
		return abi.Live, "" // SHARE was refused
	}
	end := []unix.PollFd{{Fd: heirFD}}
	if s.Reason == abi.Live {
		if n, _ := unix.Poll(end, workerTime); n != 1 || ask() != 0 || s.Reason == abi.Live {
			return s.Reason, fmt.Sprintf("the share lives on: %+v", s)
		}
	}
	for n := 0; n != 1; n, _ = unix.Poll(end, -1) {
	}
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	told, err := ioctl(heirFD, abi.IoctlDone, unsafe.Pointer(&cmd))
	if ask() != 0 || s.Pinned != 0 || err != 0 || uint32(told) != s.Reason {
		return s.Reason, fmt.Sprintf("DONE answers %d, %v, and STATS %+v", told, err, s)
	}
	if _, err := ioctl(heirFD, abi.IoctlKick, unsafe.Pointer(&cmd)); err != unix.ESHUTDOWN {
		return s.Reason, fmt.Sprintf("KICK answers %v", err)
	}
	return s.Reason, ""
}
