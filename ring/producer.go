// SPDX-License-Identifier: MIT

package ring

import (
	"context"
	"sync/atomic"

	"kshm/internal/abi"
)

const (
	dataWord = uint64(abi.RecordData) << 32
	skipWord = uint64(abi.RecordSkip) << 32
)

// recordSize is the space that a record of n bytes takes: KSHM_RECORD_SIZE().
func recordSize(n uint64) uint64 { return (n + 15) &^ 7 }

// Producer writes records into a ring. It belongs to one goroutine at a time.
type Producer struct {
	side
	limit    uint64 // position up to which there is known space
	skip     uint64 // bytes to skip in front of the reserved record
	reserved int    // payload bytes reserved; -1: none
	max      int
}

// NewProducer attaches to ring number index of a group in mem, the bytes of a
// share that has been made. The ring must be new: a ring has one producer in
// its life. bell may be nil for a program that never blocks and whose consumer
// never sleeps.
func NewProducer(mem []byte, g Group, index int, bell Doorbell) (*Producer, error) {
	s, c, err := attach(mem, g, index, bell)
	if err != nil {
		return nil, err
	}
	s.own, s.other, s.show = &c.Producer, &c.Consumer, &c.Producer_show
	s.shows, s.peerWord = showEvery, consumerPosition
	return &Producer{side: s, limit: s.capacity, reserved: -1, max: g.MaxRecord()}, nil
}

// MaxRecord is the longest record of the ring, in bytes.
func (p *Producer) MaxRecord() int { return p.max }

// Reserve returns n bytes of the ring to write a record to. Nothing is
// reserved until Commit; a second Reserve forgets the first. The errors are
// ErrFull (nothing changed: flush, wait, try again), ErrTooLong, and the
// CorruptError of a ring that is dead.
func (p *Producer) Reserve(n int) ([]byte, error) {
	size := recordSize(uint64(n))
	at := p.position & (p.capacity - 1)
	need := size
	if rest := p.capacity - at; size > rest {
		need += rest // a record never wraps
		at = 0
	}
	if uint(n) > uint(p.max) || p.limit-p.position < need {
		if err := p.reserveSlow(n, need); err != nil {
			return nil, err
		}
	}
	p.skip, p.reserved = need-size, n
	at += abi.RecordHeader
	return p.data[at : at+uint64(n) : at+uint64(n)], nil
}

func (p *Producer) reserveSlow(n int, need uint64) error {
	p.reserved = -1
	switch {
	case uint(n) > uint(p.max):
		return ErrTooLong
	case p.room(need):
		return nil
	case p.corrupt != nil:
		return p.corrupt
	}
	return ErrFull
}

// room tells whether need bytes are free, after another look at the consumer's
// position: kshm_producer_room(). A dead ring has no room.
func (p *Producer) room(need uint64) bool {
	if p.limit-p.position >= need {
		return true
	}
	if !p.fetch(p.published) {
		p.limit = p.position
		return false
	}
	p.limit = p.peer + p.capacity
	p.counters.HighWater = max(p.counters.HighWater, p.position-p.peer)
	return p.limit-p.position >= need
}

// Commit makes the first n bytes that Reserve returned a record, which the
// consumer sees after the next Flush. It panics if fewer were reserved.
func (p *Producer) Commit(n int) {
	if uint(n) > uint(p.reserved) || p.reserved < 0 {
		panic("ring: Commit of more than was reserved")
	}
	at := p.position & (p.capacity - 1)
	if p.skip != 0 {
		setHeader(p.data, at, skipWord|(p.skip-abi.RecordHeader))
		at = 0
	}
	setHeader(p.data, at, dataWord|uint64(n))
	p.position += p.skip + recordSize(uint64(n))
	p.reserved = -1
	p.counters.Records++
	p.counters.Bytes += uint64(n)
}

// Flush publishes all committed records and wakes the consumer if it sleeps.
// The error is that of a dead ring or of the Doorbell.
func (p *Producer) Flush() error { return p.publish() }

// Drop counts a record that the caller gave up for want of space.
func (p *Producer) Drop() { p.counters.Drops++ }

// Write copies rec into the ring and publishes it, with all records committed
// before. It blocks while the ring is full.
func (p *Producer) Write(ctx context.Context, rec []byte) error {
	to, err := p.Reserve(len(rec))
	for err == ErrFull {
		if err = p.Wait(ctx, len(rec)); err == nil {
			to, err = p.Reserve(len(rec))
		}
	}
	if err != nil {
		return err
	}
	copy(to, rec)
	p.Commit(len(rec))
	return p.Flush()
}

// Wait blocks until a record of n bytes can be reserved. It flushes first.
func (p *Producer) Wait(ctx context.Context, n int) error {
	if uint(n) > uint(p.max) {
		return ErrTooLong
	}
	if err := p.Flush(); err != nil {
		return err
	}
	size := recordSize(uint64(n))
	need := size
	if rest := p.capacity - p.position&(p.capacity-1); size > rest {
		need += rest
	}
	return p.park(ctx, p, need)
}

func (p *Producer) ready(need uint64) bool { return p.room(need) }

// Watermark promises that every record committed from now on has a timestamp
// of at least ns, for a Merger on the other side. It flushes first.
func (p *Producer) Watermark(ns uint64) error {
	err := p.Flush()
	if p.corrupt == nil {
		atomic.StoreUint64(&p.own.Watermark, ns)
	}
	return err
}

// Err is the CorruptError of a dead ring, or nil.
func (p *Producer) Err() error { return p.err() }

// Counters returns what the producer has counted, and brings the statistics
// page of the ring up to date.
func (p *Producer) Counters() Counters {
	p.publishCounters()
	return p.counters
}
