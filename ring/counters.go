// SPDX-License-Identifier: MIT

package ring

import (
	"sync/atomic"
	"time"

	"kshm/internal/abi"
)

// Counters is what one side of a ring has counted since it attached.
type Counters struct {
	Records    uint64        // committed, or released
	Bytes      uint64        // of payload in them
	Drops      uint64        // records that the producer gave up
	HighWater  uint64        // most bytes that this side has seen in the ring
	Wakes      uint64        // publications that rang for a sleeper
	Suppressed uint64        // publications that had nobody to ring for
	Sleeps     uint64        // times that this side went to sleep
	Spurious   uint64        // times that it woke for nothing
	Stall      time.Duration // longest time that it had to wait
}

// showEvery is how many looks at the other side's position pass between two
// copies of the counters to the statistics page.
const showEvery = 256

// publishCounters copies the counters to the statistics page of the ring.
func (s *side) publishCounters() {
	s.shows = showEvery
	n, to := &s.counters, s.show
	store(&to.Records, n.Records)
	store(&to.Bytes, n.Bytes)
	store(&to.Drops, n.Drops)
	store(&to.High_water, n.HighWater)
	store(&to.Wakes, n.Wakes)
	store(&to.Suppressed, n.Suppressed)
	store(&to.Sleeps, n.Sleeps)
	store(&to.Spurious, n.Spurious)
	store(&to.Stall_ns, uint64(n.Stall))
}

// store spares the other side's reader a cache line that has not changed.
func store(to *uint64, value uint64) {
	if atomic.LoadUint64(to) != value {
		atomic.StoreUint64(to, value)
	}
}

func load(from *abi.RingCounters) Counters {
	return Counters{
		Records:    atomic.LoadUint64(&from.Records),
		Bytes:      atomic.LoadUint64(&from.Bytes),
		Drops:      atomic.LoadUint64(&from.Drops),
		HighWater:  atomic.LoadUint64(&from.High_water),
		Wakes:      atomic.LoadUint64(&from.Wakes),
		Suppressed: atomic.LoadUint64(&from.Suppressed),
		Sleeps:     atomic.LoadUint64(&from.Sleeps),
		Spurious:   atomic.LoadUint64(&from.Spurious),
		Stall:      time.Duration(atomic.LoadUint64(&from.Stall_ns)),
	}
}

// Show reads the statistics page of ring number index of a group in mem: what
// each side last wrote about itself. Anybody may call it at any time; what it
// says is as trustworthy as the side that wrote it.
func Show(mem []byte, g Group, index int) (producer, consumer Counters, err error) {
	_, c, err := attach(mem, g, index, nil)
	if err != nil {
		return Counters{}, Counters{}, err
	}
	return load(&c.Producer_show), load(&c.Consumer_show), nil
}
