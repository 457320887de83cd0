// SPDX-License-Identifier: MIT

package sys

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/windows"

	"kshm/internal/abi"
)

// Share is a pended request.
type Share struct {
	handle  *handle
	waits   *issuer
	request *request
	cookie  uint64
	length  uint64
	access  uint32
	seen    uint64   // events that NextEvents has returned
	classic *classic // for a driver that is not built on kshm's kit
}

// Kick tells the driver that there is something to do.
func (s *Share) Kick() error {
	if s.classic != nil {
		return fmt.Errorf("%w: the recipe has no kick; use Control with the driver's own code", errors.ErrUnsupported)
	}
	_, err := s.handle.call(context.Background(), abi.CtlKick, bytesOf(s.command()), nil)
	return kickError(err)
}

func (s *Share) command() *abi.ShareCmd {
	return &abi.ShareCmd{Size: abi.SizeofShareCmd, Share: s.cookie}
}

// Done ends the share and says with which reason it has ended. Both requests,
// DONE and the share, have completed when it returns.
func (s *Share) Done() (uint32, error) {
	if s.classic != nil {
		return s.doneClassic()
	}
	return s.finish(abi.CtlDone, bytesOf(s.command()))
}

// finish sends DONE, unless the share has ended.
func (s *Share) finish(code uint32, in []byte) (uint32, error) {
	if s.request.ended() {
		return reasonOf(s.request.status), nil
	}
	_, err := s.handle.call(context.Background(), code, in, nil)
	if err != nil && s.request.ended() {
		err = nil // it has ended for another reason
	} else if err != nil {
		// The driver will not hear of it: what is left is to take the request back.
		s.handle.cancel(s.request)
	}
	<-s.request.done
	if s.request.status != windows.STATUS_CANCELLED {
		err = nil // it had ended, which its port tells later than the driver
	}
	return reasonOf(s.request.status), err
}

// Cancel takes the pended request back.
func (s *Share) Cancel() { s.handle.cancel(s.request) }

// Stats fills in the kernel's counters.
func (s *Share) Stats(stats *abi.Stats) error {
	if s.classic != nil {
		*stats = s.known()
		return nil
	}
	*stats = abi.Stats{Size: abi.SizeofStats, Share: s.cookie}
	err := exchange(s.handle, abi.CtlStats, stats)
	if _, refused := errors.AsType[windows.NTStatus](err); refused && s.request.ended() {
		*stats = s.known() // the driver has forgotten it
		return nil
	}
	return err
}

// known is what this side knows without asking the driver.
func (s *Share) known() abi.Stats {
	stats := abi.Stats{Size: abi.SizeofStats, Share: s.cookie, Access: s.access, Length: s.length}
	if s.request.ended() {
		stats.Reason = reasonOf(s.request.status)
	} else {
		stats.Pinned = uint64(pageUp(int(s.length)))
	}
	return stats
}

// NextEvents waits until there are events that no NextEvents has returned and
// returns how many there have been in all; io.EOF once the share has ended,
// and its request has completed. It holds no thread while it waits, except for
// a classic share that has an event object.
func (s *Share) NextEvents() (uint64, error) {
	if s.classic != nil {
		return s.nextClassic()
	}
	wait := abi.Wait{Size: abi.SizeofWait, Share: s.cookie, Events: s.seen}
	r, err := s.waits.issue(s.handle, abi.CtlWait, 0, bytesOf(&wait), bytesOf(&wait), nil)
	if err == nil {
		<-r.done
		err = r.failure()
	}
	switch {
	case err == nil:
		copy(bytesOf(&wait), r.answer)
		s.seen = wait.Events
		return s.seen, nil
	case err == windows.STATUS_FILE_CLOSED || s.request.ended():
		<-s.request.done
		return 0, io.EOF
	}
	return 0, err
}

// Close gives back what the share holds, and ends it if it lives.
func (s *Share) Close() error {
	if s.classic != nil {
		return s.classic.close(s)
	}
	return s.handle.close()
}
