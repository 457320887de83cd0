// SPDX-License-Identifier: MIT

package ring

import (
	"fmt"
	"math/bits"
	"time"

	"kshm/internal/abi"
)

// Limits of the geometry.
const (
	MinCapacity = abi.RingMinCapacity // bytes per ring
	MaxCapacity = abi.RingMaxCapacity // bytes per ring
	MaxCount    = abi.RingMaxCount    // rings per group
	MaxGroups   = abi.RingGroups      // groups per share
	page        = abi.RingPage
	controlSize = abi.SizeofRingControl
)

// Direction says who produces the records of a ring.
type Direction uint32

// The directions.
const (
	ToKernel Direction = abi.RingToKernel // the program produces
	ToUser   Direction = abi.RingToUser   // the driver produces
)

// String names the direction.
func (d Direction) String() string {
	switch d {
	case ToKernel:
		return "ToKernel"
	case ToUser:
		return "ToUser"
	}
	return fmt.Sprintf("Direction(%d)", uint32(d))
}

// Group is one entry of a share's ring table: Count rings of the same capacity
// one after the other. Make groups with a Layout.
type Group struct {
	Offset    int // of the first ring in the share, bytes, multiple of 4096
	Capacity  int // bytes per ring for records and their headers, a power of two
	Count     int // rings
	Direction Direction
}

// Stride is the distance from one ring of the group to the next, in bytes.
func (g Group) Stride() int { return g.Capacity + controlSize }

// Size is the space that the whole group takes, in bytes.
func (g Group) Size() int { return g.Count * g.Stride() }

// MaxRecord is the longest record of the group's rings, in bytes.
func (g Group) MaxRecord() int { return g.Capacity/2 - abi.RecordHeader }

// Validate tells whether the group lies within a share of length bytes. The
// error is an ErrGeometry that says what is wrong.
func (g Group) Validate(length int) error {
	switch {
	case g.Capacity < MinCapacity || g.Capacity > MaxCapacity || g.Capacity&(g.Capacity-1) != 0:
		return fmt.Errorf("%w: capacity %d is no power of two from %d to %d", ErrGeometry, g.Capacity, MinCapacity, MaxCapacity)
	case g.Count < 1 || g.Count > MaxCount:
		return fmt.Errorf("%w: %d rings in a group of 1 to %d", ErrGeometry, g.Count, MaxCount)
	case g.Direction != ToKernel && g.Direction != ToUser:
		return fmt.Errorf("%w: unknown direction %d", ErrGeometry, uint32(g.Direction))
	case g.Offset < 0 || g.Offset%page != 0:
		return fmt.Errorf("%w: offset %d is no multiple of %d", ErrGeometry, g.Offset, page)
	case g.Offset > length || uint64(length-g.Offset) < uint64(g.Count)*uint64(g.Stride()):
		return fmt.Errorf("%w: a share of %d bytes ends before ring %d of the group at offset %d", ErrGeometry, length, g.Count-1, g.Offset)
	}
	return nil
}

// Layout places groups of rings in a share one after the other. The zero value
// is an empty one.
type Layout struct {
	groups []Group
	size   int
}

// Add places count rings of at least capacity bytes each, rounded up to a
// power of two. It returns the group, to make producers and consumers of.
func (l *Layout) Add(d Direction, count, capacity int) (Group, error) {
	if capacity < 1 || capacity > MaxCapacity {
		return Group{}, fmt.Errorf("%w: capacity %d is not in 1 to %d", ErrGeometry, capacity, MaxCapacity)
	}
	if len(l.groups) == MaxGroups {
		return Group{}, fmt.Errorf("%w: a share has at most %d groups", ErrGeometry, MaxGroups)
	}
	g := Group{Offset: l.size, Capacity: powerOfTwo(capacity), Count: count, Direction: d}
	const most = int(^uint(0) >> 1)
	if err := g.Validate(most); err != nil {
		return Group{}, err
	}
	l.groups = append(l.groups, g)
	l.size += g.Size()
	return g, nil
}

// Plain leaves size bytes that are no ring, rounded up to 4096, and returns
// their offset.
func (l *Layout) Plain(size int) int {
	at := l.size
	l.size += (size + page - 1) &^ (page - 1)
	return at
}

// Size is the length of a share that holds the layout, in bytes.
func (l *Layout) Size() int { return l.size }

// Groups is the ring table of the share.
func (l *Layout) Groups() []Group { return append([]Group(nil), l.groups...) }

// SizeFor returns the capacity of a ring that loses nothing while its consumer
// is away: rate records per second of record bytes each, for at most delay.
// Times two, since the space of a quarter of the ring is published late, a
// record that does not fit before the end of the data leaves its place empty,
// and a producer that is never quite blocked is never slowed either.
//
// The result is a power of two between MinCapacity and MaxCapacity. If the
// answer is MaxCapacity, the records may need several rings.
func SizeFor(rate float64, record int, delay time.Duration) int {
	size := float64((max(record, 0) + 15) &^ 7)
	need := max(2*rate*size*delay.Seconds(), 2*size, MinCapacity)
	if !(need < MaxCapacity) {
		return MaxCapacity
	}
	return powerOfTwo(int(need))
}

func powerOfTwo(n int) int {
	if n <= MinCapacity {
		return MinCapacity
	}
	return 1 << bits.Len(uint(n-1))
}
