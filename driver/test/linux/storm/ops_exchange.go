// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
	"kshm/internal/abi"
)

// doExchange shares memory that nobody else touches, and holds the driver to
// all that is promised to a program that keeps to the rules: bytes go both ways,
// events arrive, DONE ends the share, and afterwards nothing is pinned.
func (l *lane) doExchange(a *[script.MaxArgs]uint32) syscall.Errno {
	device := l.devices[0].Load() // the probe's, which stays
	cookie := 1<<40 | uint64(l.place.Process)<<8 | uint64(l.place.Lane)
	l.shareArgs(uintptr(unsafe.Pointer(&l.private[0])), uint64(a[0])+1, cookie)
	fd, err := ioctl(device, abi.IoctlShare, unsafe.Pointer(&l.share))
	if err != 0 {
		return err
	}
	at, value := uint64(a[0])/2, byte(a[1])
	l.private[at] = value
	l.probe = probeCommand{Cookie: cookie, Offset: at, Length: 1}
	if l.tell(device, probePeek, 1) && l.buffer[0] != value {
		l.fault("the program wrote %d, the driver sees %d", value, l.buffer[0])
	}
	l.probe.Value = uint64(^value)
	if l.tell(device, probePoke, 0) && l.private[at] != ^value {
		l.fault("the driver wrote %d, the program sees %d", ^value, l.private[at])
	}
	l.wake(device, int32(fd), a[1]%3)
	reason, err := l.command(int32(fd), abi.IoctlDone)
	if err != 0 || reason != abi.EndDone {
		l.fault("DONE answers %d, %v", reason, err)
	}
	if err := l.askStats(fd, 0); err != 0 || l.stats[0].Pinned != 0 || l.stats[0].Reason != abi.EndDone {
		l.fault("after DONE: %v, %+v", err, l.stats[0])
	}
	raw(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return 0
}

// tell sends the lane's probe command about its own share. It fails if another
// lane, that still knows the descriptor's number from an earlier share, has
// said DONE to this one, or for want of memory.
func (l *lane) tell(device int32, code, room uint32) bool {
	_, err := l.sendProbe(device, code, room)
	if err != 0 && err != unix.ENOENT && err != unix.ENOMEM {
		l.fault("code %d of the probe: %v", code, err)
	}
	return err == 0
}

// wake holds the driver to its events: that of its answer to a kick, and one of
// its own, from any context. A driver of the storm may be wrong about a kick
// that comes after an event of its own, so the kick comes first.
func (l *lane) wake(device, fd int32, context uint32) {
	raw(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_NONBLOCK)
	l.hear(fd, "a kick", func() bool {
		_, err := l.command(fd, abi.IoctlKick)
		if err != 0 && err != unix.ESHUTDOWN {
			l.fault("KICK answers %v", err)
		}
		return err == 0
	})
	l.hear(fd, "an event of the driver's own", func() bool {
		l.probe.Value, l.probe.Context = 1, context
		return l.tell(device, probeNotify, 0)
	})
}

// hear wants poll and read to tell of what raise causes, if that succeeds. A
// lane that still knows the descriptor's number may have read it away: then
// again, since so much bad luck does not come three times.
func (l *lane) hear(fd int32, what string, raise func() bool) {
	var n int
	var err syscall.Errno
	for range 3 {
		if !raise() {
			return
		}
		l.poll, l.timeout = unix.PollFd{Fd: fd, Events: unix.POLLIN}, unix.Timespec{}
		raw6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.poll)), 1, uintptr(unsafe.Pointer(&l.timeout)), 0, 0, 0)
		clear(l.buffer[:8])
		n, err = raw(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&l.buffer)), 8)
		events := binary.NativeEndian.Uint64(l.buffer[:])
		if l.poll.Revents&unix.POLLIN != 0 && err == 0 && (n == 0 || events > 0) { // 0: the share is over
			return
		}
	}
	l.fault("poll and read tell nothing of %s: %#x, and %d bytes, %v", what, l.poll.Revents, n, err)
}
