// SPDX-License-Identifier: MIT

package sys

import (
	"fmt"
	"io"

	"golang.org/x/sys/windows"

	"kshm/internal/abi"
)

const methodInDirect = 1 // of a control code: the memory is only read

// MaxClassic is the most bytes that a driver of the recipe can be offered: what
// the I/O manager describes with one MDL, 4 GiB less a page.
const MaxClassic = 1<<32 - 4096

// classic is what a share has that was made with a driver's own codes.
type classic struct {
	device *Device
	done   uint32         // the code
	over   windows.Handle // event: the request has completed; 0 without an event
	event  windows.Handle // the driver's, or 0
}

// ShareClassic offers mem to a driver of the classic recipe: share is the code
// that pends, with mem as its out-buffer and nothing else, done the code that
// ends it, on the same handle. It names no share, so a device has one at a time,
// none is made while a DONE is under way, and DONE is for the latest alone.
// event is 0, or the handle of an auto-reset event that the driver sets; a share
// with one holds a thread.
func (d *Device) ShareClassic(mem []byte, share, done uint32, event uintptr) (*Share, error) {
	if uint64(len(mem)) > MaxClassic {
		return nil, fmt.Errorf("%w: %d bytes, a request takes at most %d", ErrRange, len(mem), uint64(MaxClassic))
	}
	c := &classic{device: d, done: done, event: windows.Handle(event)}
	if event != 0 {
		var err error
		if c.over, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
			return nil, fmt.Errorf("event: %w", err)
		}
	}
	d.turn.Lock()
	r, err := d.shares.issue(d.handle, share, c.over, nil, nil, mem)
	if err == nil {
		d.current = r
	}
	d.turn.Unlock()
	if err != nil {
		windows.CloseHandle(c.over)
		return nil, shareError(err)
	}
	s := &Share{handle: d.handle, waits: d.waits, request: r, length: uint64(len(mem)), access: abi.AccessRead, classic: c}
	if share&3 != methodInDirect {
		s.access |= abi.AccessWrite
	}
	return s, nil
}

// doneClassic ends the share, and no other: the request of an older one that the
// driver ended may seem to pend still, when DONE would end the share after it.
func (s *Share) doneClassic() (uint32, error) {
	d := s.classic.device
	d.turn.Lock()
	defer d.turn.Unlock()
	if d.current != s.request {
		s.Cancel()
		<-s.request.done
		return reasonOf(s.request.status), nil
	}
	return s.finish(s.classic.done, nil)
}

// nextClassic waits for the driver's event, or for the end.
func (s *Share) nextClassic() (uint64, error) {
	if s.classic.event != 0 && !s.request.ended() {
		// The event is first: one that came before the end is not lost.
		n, err := windows.WaitForMultipleObjects([]windows.Handle{s.classic.event, s.classic.over}, false, windows.INFINITE)
		if err != nil {
			return 0, fmt.Errorf("wait for the event: %w", err)
		}
		if n == windows.WAIT_OBJECT_0 {
			s.seen++
			return s.seen, nil
		}
	}
	<-s.request.done
	return 0, io.EOF
}

func (c *classic) close(s *Share) error {
	s.Cancel()
	<-s.request.done
	if c.over == 0 {
		return nil
	}
	return windows.CloseHandle(c.over)
}
