// SPDX-License-Identifier: MIT

package ring

import (
	"context"
	"iter"

	"kshm/internal/abi"
)

// Consumer reads the records of a ring. It belongs to one goroutine at a time.
type Consumer struct {
	side
	current uint64 // bytes of the record that Next returned; 0: none
	payload uint64 // bytes of payload in it
	end     error  // why All stopped
}

// NewConsumer attaches to ring number index of a group in mem, the bytes of a
// share that has been made. The ring must be new: a ring has one consumer in
// its life. bell may be nil for a program that never blocks and whose producer
// never sleeps.
func NewConsumer(mem []byte, g Group, index int, bell Doorbell) (*Consumer, error) {
	s, c, err := attach(mem, g, index, bell)
	if err != nil {
		return nil, err
	}
	s.own, s.other, s.show = &c.Consumer, &c.Producer, &c.Consumer_show
	s.shows, s.peerWord = showEvery, producerPosition
	return &Consumer{side: s}, nil
}

// Next returns the next record, which stays valid until Release; false if
// there is none now or the ring is dead, which Err tells apart. Without a
// Release in between it returns the same record again.
func (c *Consumer) Next() ([]byte, bool) {
	for c.position != c.peer || c.more() {
		at := c.position & (c.capacity - 1)
		word := header(c.data, at)
		size := recordSize(word & 0xffffffff)
		left := min(c.peer-c.position, c.capacity-at)
		if word>>32 == abi.RecordData && size <= left && size <= c.capacity/2 {
			c.current, c.payload = size, uint64(uint32(word))
			from := at + abi.RecordHeader
			return c.data[from : from+c.payload : from+c.payload], true
		}
		if !c.skip(word, at) {
			break
		}
	}
	return nil, false
}

// more looks at the producer's position again: kshm_consumer_ready().
func (c *Consumer) more() bool {
	if !c.fetch(c.published + c.capacity) {
		return false
	}
	c.counters.HighWater = max(c.counters.HighWater, c.peer-c.position)
	return c.position != c.peer
}

// skip handles a header word that is not that of a good record. A skip ends at
// offset 0, where another one is corrupt, so Next's loop ends.
func (c *Consumer) skip(word, at uint64) bool {
	c.current = 0 // if the same header was a record before, it is none now
	if why := check(word, at, c.peer-c.position, c.capacity); why != 0 {
		c.fail(why, controlSize+at)
		c.peer = c.position // a dead ring has no records
		return false
	}
	c.position += recordSize(word & 0xffffffff)
	return true
}

// check says what is wrong with a header word: kshm_record_check().
func check(word, at, left, capacity uint64) Reason {
	kind, length := word>>32, word&0xffffffff
	size := recordSize(length)
	switch {
	case kind != abi.RecordData && kind != abi.RecordSkip:
		return BadKind
	case length > capacity/2-abi.RecordHeader:
		return BadLength
	case size > capacity-at:
		return Wrapped
	case size > left:
		return Unpublished
	case kind == abi.RecordSkip && (at == 0 || at+length+abi.RecordHeader != capacity):
		return BadSkip
	}
	return 0
}

// Release gives the record of the last Next back. Its space is published when
// all known records are done or a quarter of the ring is free. If the producer
// sleeps then, it is woken; if the Doorbell fails at that, the next Flush or
// Wait tries again and tells.
func (c *Consumer) Release() {
	if c.current == 0 {
		return
	}
	c.position += c.current
	c.current = 0
	c.counters.Records++
	c.counters.Bytes += c.payload
	if c.position == c.peer || c.position-c.published >= c.capacity/4 {
		_ = c.publish()
	}
}

// Flush publishes all released space at once and wakes the producer if it
// sleeps. A consumer that stops in the middle of a ring for long may want it.
func (c *Consumer) Flush() error { return c.publish() }

// Wait blocks until there is a record. The records that were published before
// the end of a share come before the error that tells of the end.
func (c *Consumer) Wait(ctx context.Context) error {
	if c.current != 0 {
		return nil
	}
	if err := c.Flush(); err != nil && !c.ready(0) {
		return err
	}
	return c.park(ctx, c, 0)
}

func (c *Consumer) ready(uint64) bool { return c.position != c.peer || c.more() }

// All returns the records one by one, and blocks in between, until ctx is
// done, the share ends or the ring dies; Err says which. Each record is
// released when the loop comes back for the next one.
func (c *Consumer) All(ctx context.Context) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		c.end = nil
		for {
			rec, ok := c.Next()
			if !ok {
				if c.end = c.Wait(ctx); c.end != nil {
					return
				}
				continue
			}
			more := yield(rec)
			c.Release()
			if !more {
				return
			}
		}
	}
}

// Err is the CorruptError of a dead ring; else what ended All; else nil.
func (c *Consumer) Err() error {
	if err := c.err(); err != nil {
		return err
	}
	return c.end
}

// Counters returns what the consumer has counted, and brings the statistics
// page of the ring up to date.
func (c *Consumer) Counters() Counters {
	c.publishCounters()
	return c.counters
}
