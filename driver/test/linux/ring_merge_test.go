// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"kshm/ring"
)

// Two CPUs' records in the order of time. A ring that is quiet says so with a
// watermark: nobody waits for the window, which is longer than this test.
func TestMergeOfCPUs(t *testing.T) {
	dev := open(t, "loop")
	const records = 2000
	var l ring.Layout
	g := add(t, &l, ring.ToUser, 2, 1<<17)
	s, mem := ringShare(t, dev, &l, 34)
	m, err := ring.NewMerger(time.Hour, consumer(t, mem, g, 0, s), consumer(t, mem, g, 1, s))
	if err != nil {
		t.Fatal(err)
	}
	source := func(i uint32, n uint64) {
		c := loopCommand{Cookie: 34, Records: n, Ring: i, Size: 24, Batch: 8, Source: i}
		if r, err := produce(dev, int(i)%runtime.NumCPU(), c); err != nil || r.Produced != n {
			t.Errorf("%+v, %v", r, err)
		}
	}
	var clock uint64
	take := func() (n int) {
		for rec, index, ok := m.Next(); ok; rec, index, ok = m.Next() {
			at, from := binary.NativeEndian.Uint64(rec), binary.NativeEndian.Uint64(rec[8:])
			if at < clock || from != uint64(index) {
				t.Errorf("ring %d: a record of source %d at %d after %d", index, from, at, clock)
			}
			clock, n = at, n+1
			m.Release()
		}
		return n
	}
	source(0, records)
	if n := take(); n != 0 {
		t.Errorf("%d records, though ring 1 may have older ones", n)
	}
	source(1, 0)
	if n := take(); n != records {
		t.Errorf("%d records, want %d: ring 1 has promised that it has none", n, records)
	}
	var both sync.WaitGroup
	for i := range uint32(2) {
		both.Go(func() { source(i, records) })
	}
	both.Wait()
	source(0, 0)
	source(1, 0)
	if n := take(); n != 2*records || m.Late() != 0 {
		t.Errorf("%d records of %d, %d late", n, 2*records, m.Late())
	}
}
