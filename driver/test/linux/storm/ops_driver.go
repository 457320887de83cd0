// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"kshm/driver/test/linux/storm/script"
	"kshm/internal/abi"
)

// The codes of driver/test/linux/probe/probe.h.
const (
	probePeek    = 1
	probePoke    = 2
	probeNotify  = 3
	probeRevoke  = 4
	probeCorrupt = 5
	probeHold    = 6
	probeCounts  = 7
	probeBug     = 10
)

// probeCommand is struct probe_command.
type probeCommand struct {
	Cookie, Offset, Value uint64
	Length, Context       uint32
}

// The codes of driver/samples/loop/loop.h.
const (
	loopProduce = 1
	loopCounts  = 2
)

// loopCommand is struct loop_produce.
type loopCommand struct {
	Cookie, Records                           uint64
	Ring, Size, Batch, Context, Source, Flags uint32
}

// sendCode sends a driver a code of its own; the answer goes into the buffer.
func (l *lane) sendCode(device int32, code uint32, in unsafe.Pointer, n, room uint32) (int, syscall.Errno) {
	l.control = abi.Control{Size: abi.SizeofControl, Code: code, In: uint64(uintptr(in)), In_length: n,
		Out: uint64(uintptr(unsafe.Pointer(&l.buffer))), Out_length: room}
	return ioctl(device, abi.IoctlControl, unsafe.Pointer(&l.control))
}

func (l *lane) sendProbe(device int32, code, room uint32) (int, syscall.Errno) {
	return l.sendCode(device, code, unsafe.Pointer(&l.probe), uint32(unsafe.Sizeof(l.probe)), room)
}

var tellCodes = [8]uint32{probeNotify, probeNotify, probePoke, probePeek, probeHold, probeRevoke, probeCorrupt, 99}

// doTell has the probe act on anybody's share: this process's, another's.
func (l *lane) doTell(a *[script.MaxArgs]uint32) syscall.Errno {
	l.probe = probeCommand{Cookie: cookieBase + uint64(a[2]), Offset: uint64(a[3]) * 2048, Value: uint64(a[3]), Length: 64, Context: a[4]}
	_, err := l.sendProbe(l.device(a[0]), tellCodes[a[1]], 64)
	return err
}

// loopDevice is mostly the device that understands the codes of loop.
func (l *lane) loopDevice(n uint32) int32 {
	if n&3 == 0 {
		return l.device(n)
	}
	return l.device(n&4 | 2)
}

// doProduce has loop make records, in a context of any kind.
func (l *lane) doProduce(a *[script.MaxArgs]uint32) syscall.Errno {
	l.loop = loopCommand{Cookie: ringCookie(a[1]), Ring: a[2], Records: uint64(a[3]), Size: 24 + 8*a[4], Batch: 1 + a[3]%64, Context: a[5]}
	_, err := l.sendCode(l.loopDevice(a[0]), loopProduce, unsafe.Pointer(&l.loop), uint32(unsafe.Sizeof(l.loop)), 40)
	return err
}

func (l *lane) doCount(a *[script.MaxArgs]uint32) syscall.Errno {
	l.loop.Cookie = ringCookie(a[1])
	_, err := l.sendCode(l.loopDevice(a[0]), loopCounts, unsafe.Pointer(&l.loop.Cookie), 8, 24)
	return err
}

func (l *lane) doInfo(a *[script.MaxArgs]uint32) syscall.Errno {
	l.info = abi.Info{Size: abi.SizeofInfo}
	_, err := ioctl(l.device(a[0]), abi.IoctlInfo, unsafe.Pointer(&l.info))
	if err == 0 && (l.info.Abi_major != abi.Major || l.info.Page_size != pageSize || l.info.Driver_name[0] == 0) {
		l.fault("INFO makes no sense: %+v", l.info)
	}
	return err
}
