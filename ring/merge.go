// SPDX-License-Identifier: MIT

package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync/atomic"
	"time"
)

// Merger reads several rings, of one CPU each, in the order of the timestamps
// that their records begin with: a u64 of nanoseconds in the machine's byte
// order, of one clock for all rings, and never falling within a ring.
//
// A record comes out once no other ring can still produce an older one: each
// of them shows a record, or its last record or its watermark is as new. A
// ring that does neither is quiet, and is waited for: for the window, counted
// from when the wait found the record. All records that it found then are let
// out together, and those that came in the meantime are found next; so a quiet
// ring delays a record by at most two windows. The order is exact if every
// producer publishes its records, or a watermark, within the window; a record
// that comes later still comes out, and is counted as late.
//
// Like a Consumer, a Merger belongs to one goroutine at a time; its Consumers
// belong to it.
type Merger struct {
	lanes   []lane
	window  time.Duration
	current *lane // whose record Next returned
	last    uint64
	late    uint64
	held    bool // the oldest record waits for a quiet ring
	end     error
}

// lane is one ring: its oldest record, or else how old the next can be.
type lane struct {
	*Consumer
	rec   []byte
	time  uint64
	floor uint64
	mark  uint64    // position up to which records have been found
	found time.Time // when that was
}

// NewMerger merges rings, which all ring the same Doorbell. window is how long
// a record is held back for the sake of order.
func NewMerger(window time.Duration, rings ...*Consumer) (*Merger, error) {
	if len(rings) == 0 || window < 0 {
		return nil, fmt.Errorf("%w: merging %d rings within %v", ErrGeometry, len(rings), window)
	}
	m := &Merger{window: window, lanes: make([]lane, len(rings))}
	for i, c := range rings {
		m.lanes[i].Consumer = c
	}
	return m, nil
}

// Next returns the next record, timestamp included, and the number of its
// ring; false if there is none yet. It stays valid until Release.
func (m *Merger) Next() (rec []byte, index int, ok bool) {
	if m.current == nil {
		m.current = m.pick()
	}
	if m.current == nil {
		return nil, 0, false
	}
	for i := range m.lanes {
		if &m.lanes[i] == m.current {
			index = i
		}
	}
	return m.current.rec, index, true
}

// Release gives the record of the last Next back.
func (m *Merger) Release() {
	l := m.current
	if l == nil {
		return
	}
	if l.time < m.last {
		m.late++
	}
	m.last = max(m.last, l.time)
	m.current = nil
	l.rec = nil
	l.floor = max(l.floor, l.time)
	l.Consumer.Release()
}

// pick finds the lane whose record may come out now, or nil.
func (m *Merger) pick() *lane {
	oldest := m.oldest()
	for i := range m.lanes {
		l := &m.lanes[i]
		if l.mayPrecede(oldest) {
			l.look()
		}
		if l.rec != nil && (oldest == nil || l.time < oldest.time) {
			oldest = l
		}
	}
	m.held = oldest != nil && m.hold(oldest)
	if m.held {
		return nil
	}
	return oldest
}

func (m *Merger) oldest() *lane {
	var oldest *lane
	for i := range m.lanes {
		if l := &m.lanes[i]; l.rec != nil && (oldest == nil || l.time < oldest.time) {
			oldest = l
		}
	}
	return oldest
}

// mayPrecede tells whether an empty ring can bring a record before other's.
func (l *lane) mayPrecede(other *lane) bool {
	return l.rec == nil && (other == nil || l.floor < other.time)
}

// hold tells whether the oldest record must still wait for a quiet ring. It
// need not once the window of any record is over, since it comes before that.
func (m *Merger) hold(oldest *lane) bool {
	quiet := false
	for i := range m.lanes {
		quiet = quiet || m.lanes[i].mayPrecede(oldest)
	}
	if !quiet {
		return false
	}
	now := time.Now()
	for i := range m.lanes {
		l := &m.lanes[i]
		if l.rec == nil {
			continue
		}
		if l.position >= l.mark {
			l.mark, l.found = l.peer, now
		}
		if now.Sub(l.found) >= m.window {
			return false
		}
	}
	return true
}

// look takes the ring's next record if there is one. The watermark is loaded
// before the position: if it is there, so are the records that came before it
// (the stores of kshm_producer_watermark() are in that order).
func (l *lane) look() {
	watermark := atomic.LoadUint64(&l.other.Watermark)
	rec, ok := l.Consumer.Next()
	switch {
	case !ok:
		l.floor = max(l.floor, watermark)
	case len(rec) < 8:
		l.fail(NoTimestamp, controlSize+l.position&(l.capacity-1))
		l.Consumer.current, l.peer = 0, l.position
	default:
		l.rec, l.time = rec, binary.NativeEndian.Uint64(rec)
	}
	if l.corrupt != nil {
		l.floor = math.MaxUint64 // nothing will come
	}
}

// Late counts the records that came out after newer ones.
func (m *Merger) Late() uint64 { return m.late }

// Wait blocks until there is a record to return. A ring that is corrupt ends
// the wait; Next goes on with the others. The records that were published
// before the end of a share come before the error that tells of the end.
func (m *Merger) Wait(ctx context.Context) error {
	first := &m.lanes[0]
	for {
		if first.spin.until(m, 0) {
			return nil
		}
		if err := m.dead(); err != nil {
			return err
		}
		if first.bell == nil {
			return ErrNoDoorbell
		}
		seen := first.bell.Events()
		err := m.flush()
		m.each((*side).arm)
		if err == nil && !m.ready(0) {
			err = m.sleep(ctx, first.bell, seen)
		}
		m.each((*side).disarm)
		if m.ready(0) {
			return nil
		}
		if err == nil {
			continue
		}
		// What failed is the Doorbell: a quiet ring is waited for in vain.
		if ctx.Err() == nil {
			m.current = m.oldest()
		}
		if m.current == nil {
			return err
		}
		return nil
	}
}

func (m *Merger) ready(uint64) bool {
	if m.current == nil {
		m.current = m.pick()
	}
	return m.current != nil
}

// flush publishes all released space: a producer that sleeps for it may be the
// one that is waited for.
func (m *Merger) flush() error {
	for i := range m.lanes {
		if err := m.lanes[i].Flush(); err != nil && m.lanes[i].corrupt == nil {
			return err
		}
	}
	return nil
}

// sleep waits for an event, or, while a record is held back, for a part of the
// window, since a watermark rings for nobody.
func (m *Merger) sleep(ctx context.Context, bell Doorbell, seen uint64) error {
	if !m.held {
		_, err := bell.Wait(ctx, seen)
		return err
	}
	short, cancel := context.WithTimeout(ctx, max(m.window/4, time.Millisecond))
	defer cancel()
	_, err := bell.Wait(short, seen)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

func (m *Merger) each(do func(*side)) {
	for i := range m.lanes {
		do(&m.lanes[i].side)
	}
}

// All returns the records with the numbers of their rings, and blocks in
// between, until ctx is done, the share ends or a ring dies; Err says which.
// Each record is released when the loop comes back for the next one.
func (m *Merger) All(ctx context.Context) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		m.end = nil
		for {
			rec, index, ok := m.Next()
			if !ok {
				if m.end = m.Wait(ctx); m.end != nil {
					return
				}
				continue
			}
			more := yield(index, rec)
			m.Release()
			if !more {
				return
			}
		}
	}
}

// Err is the CorruptError of a dead ring; else what ended All; else nil.
func (m *Merger) Err() error {
	if err := m.dead(); err != nil {
		return err
	}
	return m.end
}

// dead is the CorruptError of the first dead ring, or nil.
func (m *Merger) dead() error {
	for i := range m.lanes {
		if err := m.lanes[i].err(); err != nil {
			return err
		}
	}
	return nil
}
