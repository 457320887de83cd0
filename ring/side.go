// SPDX-License-Identifier: MIT

package ring

import (
	"fmt"
	"sync/atomic"

	"kshm/internal/abi"
)

// side is what a producer and a consumer have in common: struct kshm_ring of
// kshm_ring.h, with the same names and the same order of accesses.
type side struct {
	own, other *abi.RingWords
	data       []byte
	show       *abi.RingCounters
	bell       Doorbell

	capacity  uint64
	position  uint64 // of the next byte to write or read
	published uint64 // the position that the other side can see
	peer      uint64 // last good position of the other side
	armed     uint64 // our need_wakeup
	answered  uint64 // need_wakeup of the other side that we rang for
	again     bool   // a Kick failed: ring at the next publish

	offset   uint64 // of the ring in the share
	peerWord uint64 // of the other side's position in the ring
	corrupt  *CorruptError
	spin     spinner
	counters Counters
	shows    uint // looks at the other side's position until the next show
}

// attach checks geometry and header page. The geometry that counts is the
// caller's: the page is only asked whether it agrees.
func attach(mem []byte, g Group, index int, bell Doorbell) (side, *abi.RingControl, error) {
	if err := g.Validate(len(mem)); err != nil {
		return side{}, nil, err
	}
	if index < 0 || index >= g.Count {
		return side{}, nil, fmt.Errorf("%w: ring %d of a group of %d", ErrGeometry, index, g.Count)
	}
	at := g.Offset + index*g.Stride()
	c, err := controlOf(mem, at)
	if err != nil {
		return side{}, nil, err
	}
	if atomic.LoadUint32(&c.Magic) != abi.RingMagic ||
		atomic.LoadUint32(&c.Version) != abi.RingVersion ||
		atomic.LoadUint32(&c.Capacity) != uint32(g.Capacity) ||
		atomic.LoadUint64(&c.Offset) != uint64(at) {
		return side{}, nil, fmt.Errorf("%w: ring %d of the group at offset %d", ErrNotShared, index, g.Offset)
	}
	data := at + controlSize
	return side{
		data:     mem[data : data+g.Capacity : data+g.Capacity],
		bell:     bell,
		capacity: uint64(g.Capacity),
		offset:   uint64(at),
		spin:     newSpinner(),
	}, c, nil
}

// Format makes all rings of a group in mem empty, as a driver's kit does when
// a share is made. Programs that share with a driver have no use for it.
func Format(mem []byte, g Group) error {
	if err := g.Validate(len(mem)); err != nil {
		return err
	}
	for i := range g.Count {
		at := g.Offset + i*g.Stride()
		c, err := controlOf(mem, at)
		if err != nil {
			return err
		}
		clear(mem[at : at+controlSize])
		c.Version, c.Capacity, c.Flags = abi.RingVersion, uint32(g.Capacity), uint32(g.Direction)
		c.Index, c.Count, c.Offset = uint32(i), uint32(g.Count), uint64(at)
		atomic.StoreUint32(&c.Magic, abi.RingMagic)
	}
	return nil
}

// fail ends the ring for good: kshm_ring_corrupt().
func (s *side) fail(why Reason, offset uint64) {
	if s.corrupt == nil {
		s.corrupt = &CorruptError{Reason: why, Offset: s.offset + offset}
		s.publishCounters()
	}
}

// err is the reason for the end of the ring. It avoids an error that holds a
// nil pointer.
func (s *side) err() error {
	if s.corrupt == nil {
		return nil
	}
	return s.corrupt
}

// fetch takes the other side's position into s.peer if it is good: between
// the last one and reach. The load acquires; it pairs with the store in
// publish of the other side (kshm_ring_fetch() and kshm_ring_publish() in C),
// so that its accesses to the bytes before the position are done.
func (s *side) fetch(reach uint64) bool {
	if s.corrupt != nil {
		return false
	}
	seen := atomic.LoadUint64(&s.other.Position)
	switch {
	case seen%abi.RecordAlign != 0:
		s.fail(Unaligned, s.peerWord)
	case seen < s.peer:
		s.fail(Backward, s.peerWord)
	case seen > reach:
		s.fail(Beyond, s.peerWord)
	default:
		s.peer = seen
		if s.shows--; s.shows == 0 {
			s.publishCounters()
		}
		return true
	}
	return false
}

// publish lets the other side see our position and wakes it if it sleeps and
// has not been rung for since it said so; with nothing new if a Kick failed.
//
// Go's atomic store is followed by a full barrier (XCHG on amd64, and the
// store-release before load-acquire order of arm64), so this is publish, full
// barrier, look at need_wakeup. It pairs with arm of the other side, in C
// kshm_ring_arm(), which arms, has its full barrier, and looks at our
// position. One of the two sees the other.
func (s *side) publish() error {
	if s.published == s.position && !s.again || s.corrupt != nil {
		return s.err()
	}
	s.published = s.position
	atomic.StoreUint64(&s.own.Position, s.position)
	armed := atomic.LoadUint64(&s.other.Wakeup)
	if armed&1 == 0 || armed == s.answered {
		s.again = false
		s.counters.Suppressed++
		return nil
	}
	return s.ring(armed)
}

// ring is the slow half of publish. A Kick that failed has not answered the
// number, which is odd: 0 is none that was answered.
func (s *side) ring(armed uint64) error {
	s.answered, s.again = armed, false
	if s.bell != nil {
		if err := s.bell.Kick(); err != nil {
			s.answered, s.again = 0, true
			return err
		}
	}
	s.counters.Wakes++
	return nil
}

// arm says that we are about to sleep: odd, and new each time, so that the
// other side rings once for each. The caller looks at the ring again before it
// sleeps. The barrier pairs with the one in publish of the other side.
func (s *side) arm() {
	s.armed++
	atomic.StoreUint64(&s.own.Wakeup, s.armed)
}

func (s *side) disarm() {
	s.armed++
	atomic.StoreUint64(&s.own.Wakeup, s.armed)
}
