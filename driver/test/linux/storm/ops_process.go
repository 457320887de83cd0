// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// nobody is who half of the processes run as, with RLIMIT_MEMLOCK to keep.
const nobody = 1001

func (l *lane) doSignal(a *[script.MaxArgs]uint32) syscall.Errno {
	tid := l.process.state.lanes[a[0]%l.lanes].tid.Load()
	_, err := raw(unix.SYS_TGKILL, uintptr(l.process.state.pid.Load()), uintptr(tid), uintptr(unix.SIGURG))
	return err
}

// doKill ends an ordinary process, its own perhaps, wherever that is just now.
func (l *lane) doKill(a *[script.MaxArgs]uint32) syscall.Errno {
	pid := l.board.procs[1+a[0]%max(l.procs-1, 1)].pid.Load()
	if pid <= 1 {
		return unix.ESRCH
	}
	_, err := raw(unix.SYS_KILL, uintptr(pid), uintptr(unix.SIGKILL), 0)
	return err
}

// doUser changes who this thread is, for shares that are live and for new ones.
func (l *lane) doUser(a *[script.MaxArgs]uint32) syscall.Errno {
	who := [3]uintptr{0, 0, nobody}[a[0]]
	_, err := raw(unix.SYS_SETRESUID, who, who, ^uintptr(0))
	return err
}

func (l *lane) doLimit(a *[script.MaxArgs]uint32) syscall.Errno {
	l.rlimit = unix.Rlimit{Cur: [4]uint64{1024, 1024, 128, 40}[a[0]], Max: 1024}
	_, err := raw6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&l.rlimit)), 0, 0, 0)
	return err
}

func (l *lane) doPause(a *[script.MaxArgs]uint32) syscall.Errno {
	l.timeout = unix.Timespec{Nsec: int64(a[0]) * 1000}
	_, err := raw(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&l.timeout)), 0, 0)
	return err
}
