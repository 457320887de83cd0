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

const (
	cookieBase   = 1000 // of the shares that everybody finds
	ringCookies  = 4    // of those that have rings, so that they are found soon
	ringCapacity = abi.RingMinCapacity
)

func ringCookie(n uint32) uint64 { return cookieBase + uint64(n%ringCookies) }

// rings fills in a table: how many rings of each direction, all in a row.
func (l *lane) rings(toKernel, toUser uint32) {
	const stride = abi.RingControlSize + ringCapacity
	groups := l.share.Rings[:0]
	if toKernel > 0 {
		groups = append(groups, abi.RingGroup{Capacity: ringCapacity, Count: toKernel})
	}
	if toUser > 0 {
		_ = append(groups, abi.RingGroup{Offset: uint64(toKernel * stride), Capacity: ringCapacity, Count: toUser, Flags: abi.RingToUser})
	}
}

// shareArgs prepares a share of memory at an address.
func (l *lane) shareArgs(address uintptr, length uint64, cookie uint64) {
	l.share = abi.ShareArgs{Size: abi.SizeofShareArgs, Address: uint64(address), Length: length, Cookie: cookie, Access: abi.AccessRead | abi.AccessWrite}
}

func (l *lane) doShare(a *[script.MaxArgs]uint32) syscall.Errno {
	l.shareArgs(pageAt(a[0], a[1]/3), uint64(a[2])+1, cookieBase+uint64(a[5]))
	device := l.device(a[4])
	if a[6] >= 4 { // rings are for loop
		device = l.device(a[4]&4 | 2)
		l.share.Cookie = ringCookie(a[5])
	}
	switch a[6] {
	case 0, 1, 2: // plain
	case 3:
		l.share.Access = abi.AccessRead
	case 4:
		l.rings(1+a[0]&2, 1)
	case 5: // loop makes records on those that it does not echo to
		l.rings(1, 3)
	case 6:
		l.rings(0, 2)
	case 7:
		l.rings(2, 3)
	}
	fd, err := ioctl(device, abi.IoctlShare, unsafe.Pointer(&l.share))
	if err != 0 {
		return err
	}
	raw(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_NONBLOCK)
	keep(&l.slots[a[3]], int32(fd))
	return 0
}

// doBadShare breaks one field of a good command. What it breaks may happen to
// be good still.
func (l *lane) doBadShare(a *[script.MaxArgs]uint32) syscall.Errno {
	l.shareArgs(areaAt(a[0]), 8*pageSize, cookieBase)
	noise := noiseWord(a[3])
	s := &l.share
	switch a[2] {
	case 0:
		s.Size = uint32(noise)
	case 1:
		s.Flags = uint32(noise)
	case 2:
		s.Address = noise
	case 3:
		s.Address += noise
	case 4:
		s.Length = noise
	case 5:
		s.Length = -s.Address + noise
	case 6:
		s.Access = uint32(noise)
	case 7:
		s.Reserved = uint32(noise)
	case 8:
		s.Event = noise
	case 9:
		s.Rings[noise%8] = abi.RingGroup{Offset: noise, Capacity: uint32(noise >> 3), Count: uint32(noise) & 7}
	case 10:
		l.rings(uint32(noise), uint32(noise>>5))
	case 11:
		l.rings(1, 1)
		s.Rings[noise%8].Flags = uint32(noise)
	}
	fd, err := ioctl(l.device(a[1]), abi.IoctlShare, unsafe.Pointer(s))
	if err == 0 {
		raw(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	}
	return err
}

// doBadCall sends junk to a share or a device.
func (l *lane) doBadCall(a *[script.MaxArgs]uint32) syscall.Errno {
	for i := 0; i < 256; i += 8 {
		binary.NativeEndian.PutUint64(l.buffer[i:], noiseWord(a[3]+uint32(i)))
	}
	if a[3]%2 == 0 { // a size that is accepted
		binary.NativeEndian.PutUint32(l.buffer[:], abi.SizeofShareArgs)
		clear(l.buffer[abi.SizeofShareArgs:256])
	}
	fd := l.device(a[1])
	if a[2]&8 != 0 {
		fd = l.slots[a[0]].Load()
	}
	command := abi.IoctlInfo + uintptr(a[2]&7)
	if a[3]%16 == 1 {
		_, err := raw(unix.SYS_IOCTL, uintptr(fd), command, uintptr(noiseWord(a[3])))
		return err
	}
	r, err := ioctl(fd, command, unsafe.Pointer(&l.buffer))
	if err == 0 && command == abi.IoctlShare {
		raw(unix.SYS_CLOSE, uintptr(r), 0, 0)
	}
	return err
}

func (l *lane) command(fd int32, command uintptr) (int, syscall.Errno) {
	l.cmd = abi.ShareCmd{Size: abi.SizeofShareCmd}
	return ioctl(fd, command, unsafe.Pointer(&l.cmd))
}

func (l *lane) doDone(a *[script.MaxArgs]uint32) syscall.Errno {
	reason, err := l.command(l.slots[a[0]].Load(), abi.IoctlDone)
	if err == 0 && (reason <= abi.Live || reason > abi.EndCorrupt) {
		l.fault("DONE answers %d, which is no reason", reason)
	}
	return err
}

func (l *lane) kick(slot uint32) syscall.Errno {
	_, err := l.command(l.slots[slot].Load(), abi.IoctlKick)
	return err
}

func (l *lane) doKick(a *[script.MaxArgs]uint32) syscall.Errno { return l.kick(a[0]) }

func (l *lane) askStats(fd, i int) syscall.Errno {
	l.stats[i] = abi.Stats{Size: abi.SizeofStats}
	_, err := ioctl(int32(fd), abi.IoctlStats, unsafe.Pointer(&l.stats[i]))
	return err
}

// doStats asks twice, through a descriptor of its own, and compares.
func (l *lane) doStats(a *[script.MaxArgs]uint32) syscall.Errno {
	fd, err := raw(unix.SYS_FCNTL, uintptr(l.slots[a[0]].Load()), unix.F_DUPFD_CLOEXEC, 0)
	if err != 0 {
		return err
	}
	err = l.askStats(fd, 0)
	if err == 0 {
		err = l.askStats(fd, 1)
	}
	raw(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	if err == 0 {
		l.compareStats(&l.stats[0], &l.stats[1])
	}
	return err
}

// compareStats holds an answer against an earlier one of the same share.
func (l *lane) compareStats(was, is *abi.Stats) {
	whole := (is.Length + pageSize - 1) &^ (pageSize - 1)
	switch {
	case is.Kicks < was.Kicks || is.Events < was.Events || is.Wakes < was.Wakes:
		l.fault("a counter fell: %+v, then %+v", *was, *is)
	case was.Reason != abi.Live && is.Reason != was.Reason:
		l.fault("a share that had ended ended again: %+v, then %+v", *was, *is)
	case is.Reason > abi.EndCorrupt || is.Length != was.Length || is.Access != was.Access:
		l.fault("statistics make no sense: %+v, then %+v", *was, *is)
	case is.Reason == abi.Live && is.Pinned != whole || is.Pinned != whole && is.Pinned != 0 || is.Pinned > was.Pinned:
		l.fault("the pinned bytes make no sense: %+v, then %+v", *was, *is)
	}
}

func (l *lane) doRead(a *[script.MaxArgs]uint32) syscall.Errno {
	_, err := raw(unix.SYS_READ, uintptr(l.slots[a[0]].Load()), uintptr(unsafe.Pointer(&l.buffer)), 8)
	return err
}

func (l *lane) doWait(a *[script.MaxArgs]uint32) syscall.Errno {
	l.poll = unix.PollFd{Fd: l.slots[a[0]].Load(), Events: unix.POLLIN}
	l.timeout = unix.Timespec{Nsec: int64(a[1]) * 1e6}
	_, err := raw6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.poll)), 1, uintptr(unsafe.Pointer(&l.timeout)), 0, 0, 0)
	return err
}
