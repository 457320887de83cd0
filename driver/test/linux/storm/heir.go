// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// An heir is the program that a small child turns into by exec, with its
// descriptors. The shares behind them are over, since their address space is.

const heirVariable = "KSHM_STORM_HEIR"

var (
	heirPath = cstring("/proc/self/exe")
	heirArgs = [2]*byte{cstring("heir")}
	heirEnv  = [2]*byte{cstring(heirVariable + "=1")}
)

func cstring(s string) *byte {
	p, _ := syscall.BytePtrFromString(s)
	return p
}

// heir is the call that turns a small child into one.
func (l *lane) heir() call {
	return call{unix.SYS_EXECVE, [3]uintptr{uintptr(unsafe.Pointer(heirPath)), uintptr(unsafe.Pointer(&heirArgs)), uintptr(unsafe.Pointer(&heirEnv))}, 0}
}

// playHeir uses whatever it has inherited, and waits to be killed.
func playHeir() {
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	for fd := int32(3); fd < 256; fd++ {
		ioctl(fd, abi.IoctlKick, unsafe.Pointer(&cmd))
		ioctl(fd, abi.IoctlDone, unsafe.Pointer(&cmd))
	}
	time.Sleep(time.Second) // for whom nobody kills
}
