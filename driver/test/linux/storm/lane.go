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

const privatePages = 8

// A lane is a thread of a process: it performs operations, one after the other.
// What system calls read and write lies in here, so that nothing is allocated
// while the storm goes on.
type lane struct {
	*process
	place   script.Place
	state   *laneState
	next    func() (script.Op, bool)
	op      script.Op
	private []byte // memory that no other lane touches

	share   abi.ShareArgs
	cmd     abi.ShareCmd
	stats   [2]abi.Stats
	info    abi.Info
	control abi.Control
	probe   probeCommand
	loop    loopCommand
	message unix.Msghdr
	vector  unix.Iovec
	poll    unix.PollFd
	timeout unix.Timespec
	rlimit  unix.Rlimit
	rights  [unix.SizeofCmsghdr + 8]byte
	buffer  [4096]byte
	calls   [maxCalls]call
	heirEnv [2]*byte
}

func newLane(p *process, number uint32, next func() (script.Op, bool)) (*lane, error) {
	l := &lane{process: p, place: p.place, state: &p.state.lanes[number], next: next}
	l.place.Lane = number
	l.heirEnv = heirEnvironment(l.place)
	var err error
	l.private, err = unix.Mmap(-1, 0, privatePages*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	return l, err
}

func (l *lane) run() {
	for l.board.stop.Load() == 0 {
		op, ok := l.next()
		if !ok {
			return
		}
		l.op, l.state.op = op, op
		l.state.begun.Add(1)
		err := performers[op.Kind](l, &l.op.Arg)
		l.process.state.note(op.Kind, err)
		if !documented[op.Kind].has(err) {
			l.fault("the answer is %d (%v), which is not documented", int(err), err)
		}
		l.state.ended.Add(1)
	}
}

// fault reports that the current operation went wrong.
func (l *lane) fault(format string, args ...any) {
	l.board.report(l.place, l.op, format, args...)
}

// ioctl makes a call with an argument that lies in the lane.
func ioctl(fd int32, command uintptr, arg unsafe.Pointer) (int, syscall.Errno) {
	return raw(unix.SYS_IOCTL, uintptr(fd), command, uintptr(arg))
}

// performers carry out the kinds of operations.
var performers = [script.NumKinds]func(*lane, *[script.MaxArgs]uint32) syscall.Errno{
	script.Map: (*lane).doMap, script.Unmap: (*lane).doUnmap, script.Protect: (*lane).doProtect,
	script.Advise: (*lane).doAdvise, script.Remap: (*lane).doRemap, script.Scribble: (*lane).doScribble,
	script.Truncate: (*lane).doTruncate, script.Feed: (*lane).doFeed,
	script.Share: (*lane).doShare, script.BadShare: (*lane).doBadShare, script.BadCall: (*lane).doBadCall,
	script.Done: (*lane).doDone, script.Kick: (*lane).doKick, script.Stats: (*lane).doStats,
	script.Info: (*lane).doInfo, script.Read: (*lane).doRead, script.Wait: (*lane).doWait,
	script.Exchange: (*lane).doExchange,
	script.Close:    (*lane).doClose, script.Dup: (*lane).doDup, script.Send: (*lane).doSend,
	script.Receive: (*lane).doReceive, script.Open: (*lane).doOpen,
	script.Tell: (*lane).doTell, script.Produce: (*lane).doProduce, script.Count: (*lane).doCount,
	script.Fork: (*lane).doFork, script.Signal: (*lane).doSignal, script.Kill: (*lane).doKill,
	script.User: (*lane).doUser, script.Limit: (*lane).doLimit, script.Pause: (*lane).doPause,
	script.CPU: (*lane).doCPU, script.Memory: (*lane).doMemory, script.Tasks: (*lane).doTasks,
	script.Reclaim: (*lane).doReclaim, script.Unload: (*lane).doUnload, script.Reload: (*lane).doReload,
	script.Caps: (*lane).doCaps, script.Rest: (*lane).doRest,
}
