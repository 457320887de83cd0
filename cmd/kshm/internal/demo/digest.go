// SPDX-License-Identifier: MIT

package demo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"kshm"
)

// The words of driver/samples/digest/digest.h.
const (
	digestData  = 4096
	digestFirst = 1
	digestLast  = 2
)

// digestPage is struct digest_page.
type digestPage struct {
	// Written by the program.
	request atomic.Uint64
	length  atomic.Uint32
	flags   atomic.Uint32
	_       [112]byte
	// Written by the driver.
	reply    atomic.Uint64
	progress atomic.Uint64
	digest   [32]byte
}

// A stream sends a file through a share, piece by piece.
type stream struct {
	share *kshm.Share
	page  *digestPage
	data  []byte
	emit  Emit

	request uint64
	events  uint64
	counter uint64    // the driver's progress word as last seen
	live    int64     // how often it was seen to have changed
	shown   time.Time // when progress was last emitted
}

func newStream(share *kshm.Share, mem []byte, emit Emit) (*stream, error) {
	page, err := kshm.View[digestPage](mem, 0)
	if err != nil {
		return nil, err
	}
	return &stream{share: share, page: page, data: mem[digestData:], emit: emit}, nil
}

// run sends size bytes of r, at least one piece, and returns the digest.
func (s *stream) run(ctx context.Context, r io.Reader, size int64) (string, error) {
	s.emit(Event{Progress: &Progress{0, size}})
	for sent := int64(0); ; {
		piece := s.data[:min(int64(len(s.data)), size-sent)]
		if _, err := io.ReadFull(r, piece); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", errShorter
		} else if err != nil {
			return "", err
		}
		var flags uint32
		if sent == 0 {
			flags |= digestFirst
		}
		sent += int64(len(piece))
		if sent == size {
			flags |= digestLast
		}
		if err := s.ask(ctx, len(piece), flags); err != nil {
			return "", err
		}
		s.show(sent, size)
		if sent == size {
			digest := s.page.digest // settled: the driver has nothing to do
			return hex.EncodeToString(digest[:]), nil
		}
	}
}

// ask has the driver hash one piece where it lies.
func (s *stream) ask(ctx context.Context, length int, flags uint32) error {
	s.request++
	s.page.length.Store(uint32(length))
	s.page.flags.Store(flags)
	s.page.request.Store(s.request) // pairs with smp_load_acquire() in the driver
	if err := s.share.Kick(); err != nil {
		return err
	}
	if err := s.watch(ctx); err != nil {
		return err
	}
	var err error
	s.events, err = s.share.Wait(ctx, s.events)
	return err
}

// watch reads the driver's words until it has answered: loads from memory, and
// no system call, while the kernel writes.
func (s *stream) watch(ctx context.Context) error {
	for i := 1; ; i++ {
		answered := s.page.reply.Load() == s.request // pairs with smp_store_release()
		if c := s.page.progress.Load(); c != s.counter {
			s.counter = c
			s.live++
		}
		if answered {
			return nil
		}
		if i%4096 != 0 {
			continue
		}
		select {
		case <-s.share.Done():
			return fmt.Errorf("the share has ended under the program: %w", s.share.Err())
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
}

// show emits progress ten times a second, and at the end.
func (s *stream) show(sent, size int64) {
	if now := time.Now(); sent == size || now.Sub(s.shown) > 100*time.Millisecond {
		s.shown = now
		s.emit(Event{Progress: &Progress{sent, size}})
	}
}
