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
	limit uint64 // position up to which there is known space
	skip  uint64 // bytes to skip in front of the reserved record
	next  []byte // data from the next payload on
	ahead uint64 // position up to which lines were asked for
	fits  uint   // payloads shorter than this fit there with no further look
	open  int    // payload bytes reserved; -1: none
	max   int
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
	return &Producer{side: s, limit: s.capacity, open: -1, max: g.MaxRecord()}, nil
}

// MaxRecord is the longest record of the ring, in bytes.
func (p *Producer) MaxRecord() int { return p.max }

// Reserve returns n bytes of the ring to write a record to. Nothing is
// reserved until Commit; a second Reserve forgets the first. The errors are
// ErrFull (nothing changed: flush, wait, try again), ErrTooLong, and the
// CorruptError of a ring that is dead.
func (p *Producer) Reserve(n int) (rec []byte, err error) {
	// As little as this, so that it is inlined. An error leaves nothing open.
	if p.open = n; uint(n) >= p.fits {
		err = p.look()
	}
	return p.next[:p.open:p.open], err
}

// look finds out what fits at the position, which Reserve and Commit then use
// up, and prepares for the record that Reserve has opened. A record with a skip
// in front of it is one that does not fit there.
func (p *Producer) look() error {
	n := p.open
	p.open, p.next, p.skip, p.fits = 0, nil, 0, 0
	if uint(n) > uint(p.max) {
		return ErrTooLong
	}
	need, skip := p.need(n)
	if !p.room(need) {
		if p.corrupt != nil {
			return p.corrupt
		}
		return ErrFull
	}
	p.open, p.skip = n, skip
	p.next = p.data[(p.position+skip)&(p.capacity-1)+abi.RecordHeader:]
	if skip == 0 {
		p.fits = 1 + uint(min(uint64(len(p.next)), p.limit-p.position-abi.RecordHeader, uint64(p.max)))
	}
	return nil
}

// need is the space that a record of n bytes takes at the position, and how
// much of it is skipped, since a record never wraps: kshm_producer_skip().
func (p *Producer) need(n int) (need, skip uint64) {
	need = recordSize(uint64(n))
	if rest := p.capacity - p.position&(p.capacity-1); need > rest {
		skip = rest
	}
	return need + skip, skip
}

// room tells whether need bytes are free, after another look at the consumer's
// position: kshm_producer_room(). A dead ring has no room.
func (p *Producer) room(need uint64) bool {
	if p.limit-p.position >= need {
		return true
	}
	if !p.fetch(p.published) {
		p.limit, p.fits = p.position, 0
		return false
	}
	p.limit = p.peer + p.capacity
	p.counters.HighWater = max(p.counters.HighWater, p.position-p.peer)
	return p.limit-p.position >= need
}

// Commit makes the first n bytes that Reserve returned a record, which the
// consumer sees after the next Flush. It panics if fewer were reserved.
func (p *Producer) Commit(n int) {
	size := recordSize(uint64(n))
	if p.open < 0 || uint(n) > uint(p.open) || p.next == nil {
		panic("ring: Commit of more than was reserved")
	}
	p.open = -1
	if uint(size) < p.fits {
		p.next = p.next[size:]
		p.fits -= uint(size)
	} else {
		p.used()
	}
	setHeader(p.data, p.position&(p.capacity-1), dataWord|uint64(n))
	p.position += size
	p.counters.Records++
	p.counters.Bytes += uint64(n)
	if p.position+lead > p.ahead {
		p.ask()
	}
}

// used is what a Commit does that uses up what fits: the next Reserve looks
// again. A skip in front of the record comes first.
func (p *Producer) used() {
	p.fits = 0
	if p.skip != 0 {
		setHeader(p.data, p.position&(p.capacity-1), skipWord|(p.skip-abi.RecordHeader))
		p.position += p.skip
		p.skip = 0
	}
}

// lead is how far, in bytes, the lines to come are asked for in advance.
const lead = 512

// ask is kshm_producer_prefetch(), in larger steps: the barrier of publish
// waits for all stores, and a line that is already here makes that short. Only
// known space: the consumer is done with those lines.
func (p *Producer) ask() {
	from := max(p.ahead, p.position) &^ (lead - 1)
	end := min(p.position+2*lead, p.limit) &^ (lead - 1)
	for ; from < end; from += lead {
		prefetchw(&p.data[from&(p.capacity-1)], lead)
	}
	p.ahead = from
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
	need, _ := p.need(n)
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
