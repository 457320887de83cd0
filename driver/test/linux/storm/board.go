// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// A board is memory that all processes of a round share, so that what a killed
// one has done is still known.
type board struct {
	stop    atomic.Uint32 // lanes end after their operation
	claimed atomic.Uint32 // somebody writes the finding
	finding finding
	effects [numEffects]triedOnBoard
	procs   [script.MaxProcs]procState
}

// procState is what a process says of itself; the storm clears it between lives.
type procState struct {
	pid     atomic.Int32 // 0: not running
	ready   atomic.Uint32
	lanes   [script.MaxLanes]laneState
	answers [script.NumKinds][maxErrno]atomic.Uint32
	kills   atomic.Uint32 // of small children that had shared
	early   atomic.Uint32 // of those that had not
}

const maxErrno = 134

type laneState struct {
	tid          atomic.Int32
	progress     atomic.Uint32 // of its small child, in calls
	shared       atomic.Uint32 // by its small child, how often
	heir         atomic.Uint32 // number of the latest that has done its part
	begun, ended atomic.Uint64 // operations
	op           script.Op     // the one that has begun
}

// A finding is the first thing that was found wrong.
type finding struct {
	written atomic.Uint32
	place   script.Place
	op      script.Op
	length  uint32
	text    [500]byte
}

const boardSize = unsafe.Sizeof(board{})

func newBoard() (fd int, b *board, err error) {
	fd, err = unix.MemfdCreate("storm-board", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, nil, err
	}
	if err = unix.Ftruncate(fd, int64(boardSize)); err == nil {
		b, err = mapBoard(fd)
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, b, err
}

func mapBoard(fd int) (*board, error) {
	mem, err := unix.Mmap(fd, 0, int(boardSize), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*board)(unsafe.Pointer(&mem[0])), nil
}

func (b *board) unmap() {
	unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(b)), boardSize))
}

// report notes what is wrong, if nothing has been noted yet.
func (b *board) report(p script.Place, op script.Op, format string, args ...any) {
	if !b.claimed.CompareAndSwap(0, 1) {
		return
	}
	f := &b.finding
	f.place, f.op = p, op
	f.length = uint32(copy(f.text[:], fmt.Sprintf(format, args...)))
	f.written.Store(1)
}

// found returns the finding, "" if there is none.
func (b *board) found() string {
	f := &b.finding
	if f.written.Load() == 0 {
		return ""
	}
	return fmt.Sprintf("%s (process %d, life %d, lane %d: %v)", f.text[:f.length], f.place.Process, f.place.Life, f.place.Lane, f.op)
}

// note counts an answer.
func (s *procState) note(k script.Kind, err syscall.Errno) {
	s.answers[k][min(int(err), maxErrno-1)].Add(1)
}
