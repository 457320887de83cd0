// SPDX-License-Identifier: MIT

//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cilium/ebpf"

	"kshm/internal/sys"
)

// doorbell is the program's end of a BPF ring buffer whose records say only
// that there is an event. Waiting for one parks a goroutine and no thread.
type doorbell struct {
	file     *os.File
	raw      syscall.RawConn
	consumer []byte // one page that we write: how far we have looked
	producer []byte // one page and the data, twice, that the kernel writes
	mask     uint64
}

// The header of a record in a BPF ring buffer.
const (
	bellBusy    = 1 << 31
	bellDiscard = 1 << 30
	bellHeader  = 8
)

func openDoorbell(m *ebpf.Map) (*doorbell, error) {
	page, size := os.Getpagesize(), int(m.MaxEntries())
	fd, err := sys.PollableDup(m.FD())
	if err != nil {
		return nil, fmt.Errorf("doorbell: %w", err)
	}
	d := &doorbell{file: os.NewFile(uintptr(fd), "kshm doorbell"), mask: uint64(size - 1)}
	if d.raw, err = d.file.SyscallConn(); err == nil {
		if d.consumer, err = sys.Map(fd, 0, page, true); err == nil {
			d.producer, err = sys.Map(fd, int64(page), page+2*size, false)
		}
	}
	if err != nil {
		d.close()
		d.unmap()
		return nil, fmt.Errorf("doorbell: %w", err)
	}
	return d, nil
}

// wait returns when the bell has rung since the last wait; os.ErrClosed after
// close.
func (d *doorbell) wait() error {
	err := d.raw.Read(func(uintptr) bool { return d.drain() > 0 })
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("%w: %w", os.ErrClosed, err)
	}
	return err
}

// drain takes the records that are there. One that is still being written
// rings again when it is done.
func (d *doorbell) drain() (n int) {
	looked, end := word(d.consumer, 0), word(d.producer, 0)
	at := looked.Load()
	for at < end.Load() {
		header := half(d.producer, os.Getpagesize()+int(at&d.mask)).Load()
		if header&bellBusy != 0 {
			break
		}
		at += (uint64(header&^bellDiscard) + bellHeader + 7) &^ 7
		n++
	}
	looked.Store(at)
	return n
}

// close ends a wait. The memory goes with unmap, when no wait is under way.
func (d *doorbell) close() error { return d.file.Close() }

func (d *doorbell) unmap() {
	for _, mem := range [][]byte{d.consumer, d.producer} {
		if mem != nil {
			sys.Unmap(mem)
		}
	}
}
