// SPDX-License-Identifier: MIT

package ring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"kshm/ring"
)

// Every record arrives once, whole and in order, with both sides blocking,
// whatever the capacity and the batch.
func TestStream(t *testing.T) {
	records := 200_000
	if testing.Short() {
		records = 20_000
	}
	for _, capacity := range []int{4096, 65536} {
		for _, batch := range []int{1, 7, 32} {
			t.Run(fmt.Sprintf("capacity=%d/batch=%d", capacity, batch), func(t *testing.T) {
				stream(t, capacity, batch, records)
			})
		}
	}
}

func stream(t *testing.T, capacity, batch, records int) {
	ctx := testContext(t)
	mem, g := heapRing(t, capacity)
	pb, cb := newBells()
	p, c := newPair(t, mem, g, pb, cb)
	failed := make(chan error, 1)
	go func() { failed <- produce(ctx, p, newScript(1, p.MaxRecord()), batch, records) }()
	want, got := newScript(1, p.MaxRecord()), 0
	for rec := range c.All(ctx) {
		if !bytes.Equal(rec, want.next()) {
			t.Fatalf("record %d of %d bytes is not what was written", got, len(rec))
		}
		if got++; got == records {
			break
		}
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	pn, cn := p.Counters(), c.Counters()
	if pn.Records != uint64(records) || cn.Records != uint64(records) || pn.Bytes != cn.Bytes {
		t.Errorf("counted %d records and %d bytes in, %d and %d out", pn.Records, pn.Bytes, cn.Records, cn.Bytes)
	}
	if pn.Wakes != pb.kicks.Load() || cn.Wakes != cb.kicks.Load() {
		t.Errorf("counted %d and %d wakes, rang %d and %d times", pn.Wakes, cn.Wakes, pb.kicks.Load(), cb.kicks.Load())
	}
	shownP, shownC, err := ring.Show(mem, g, 0)
	if err != nil || shownP != pn || shownC != cn {
		t.Errorf("the statistics page shows %+v, %+v, %v; counted %+v, %+v", shownP, shownC, err, pn, cn)
	}
}

// Both ways of producing: reserved records in batches, and Write.
func produce(ctx context.Context, p *ring.Producer, s *script, batch, records int) error {
	for i := 1; i <= records; i++ {
		rec := s.next()
		if batch == 1 {
			if err := p.Write(ctx, rec); err != nil {
				return err
			}
			continue
		}
		to, err := p.Reserve(len(rec))
		if err == ring.ErrFull {
			if err = p.Wait(ctx, len(rec)); err == nil {
				to, err = p.Reserve(len(rec))
			}
		}
		if err != nil {
			return err
		}
		copy(to, rec)
		p.Commit(len(rec))
		if i%batch == 0 || i == records {
			if err := p.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Records of every length from 0 to the longest, at every offset.
func TestRecordLengths(t *testing.T) {
	mem, g := heapRing(t, 4096)
	p, c := newPair(t, mem, g, nil, nil)
	if p.MaxRecord() != 2040 || g.MaxRecord() != 2040 {
		t.Fatalf("longest record %d, want 2040", p.MaxRecord())
	}
	for length := range p.MaxRecord() + 1 {
		rec, err := p.Reserve(length)
		if err != nil {
			t.Fatalf("%d bytes: %v", length, err)
		}
		if len(rec) != length || cap(rec) != length {
			t.Fatalf("reserved %d of %d bytes for %d", len(rec), cap(rec), length)
		}
		for i := range rec {
			rec[i] = byte(length)
		}
		p.Commit(length)
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		got, ok := c.Next()
		if !ok || !bytes.Equal(got, bytes.Repeat([]byte{byte(length)}, length)) {
			t.Fatalf("%d bytes: got %d, %v, %v", length, len(got), ok, c.Err())
		}
		c.Release()
	}
	for _, length := range []int{2041, 4096, math.MaxInt, -1} {
		if _, err := p.Reserve(length); !errors.Is(err, ring.ErrTooLong) {
			t.Errorf("Reserve(%d): %v, want ErrTooLong", length, err)
		}
		if err := p.Wait(testContext(t), length); !errors.Is(err, ring.ErrTooLong) {
			t.Errorf("Wait(%d): %v, want ErrTooLong", length, err)
		}
	}
}

// What the calls promise about one another.
func TestSequence(t *testing.T) {
	mem, g := heapRing(t, 4096)
	p, c := newPair(t, mem, g, nil, nil)
	if _, ok := c.Next(); ok {
		t.Error("a new ring has a record")
	}
	c.Release() // of nothing
	write := func(length int, fill byte) {
		t.Helper()
		rec, err := p.Reserve(2040)
		if err != nil {
			t.Fatal(err)
		}
		rec[0] = fill
		p.Commit(length)
	}
	write(1, 'a')
	if _, ok := c.Next(); ok {
		t.Error("a record is seen before Flush")
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	write(1, 'b')
	first, _ := c.Next()
	again, ok := c.Next()
	if !ok || &first[0] != &again[0] || string(first) != "a" {
		t.Errorf("Next twice gave %q and %q", first, again)
	}
	c.Release()
	c.Release()
	if _, ok := c.Next(); ok {
		t.Error("a record is seen before its Flush")
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	if rec, ok := c.Next(); !ok || string(rec) != "b" {
		t.Errorf("got %q, want b", rec)
	}
	mustPanic(t, "Commit without Reserve", func() { p.Commit(0) })
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s does not panic", what)
		}
	}()
	f()
}

// A Reserve that fails leaves nothing to commit, not even an older Reserve's.
func TestFailedReserve(t *testing.T) {
	mem, g := heapRing(t, 4096)
	p, c := newPair(t, mem, g, nil, nil)
	for _, n := range []int{-1, p.MaxRecord() + 1, math.MaxInt, math.MinInt} {
		if _, err := p.Reserve(16); err != nil {
			t.Fatal(err)
		}
		if rec, err := p.Reserve(n); err != ring.ErrTooLong || rec != nil {
			t.Errorf("Reserve(%d): %d bytes, %v", n, len(rec), err)
		}
		mustPanic(t, "Commit after a failed Reserve", func() { p.Commit(0) })
	}
	if _, err := p.Reserve(16); err != nil {
		t.Fatal(err)
	}
	mustPanic(t, "Commit of more", func() { p.Commit(17) })
	mustPanic(t, "Commit of less than nothing", func() { p.Commit(-1) })
	p.Commit(16)
	mustPanic(t, "a second Commit", func() { p.Commit(0) })
	for {
		if _, err := p.Reserve(0); err != nil {
			break
		}
		p.Commit(0)
	}
	mustPanic(t, "Commit in a full ring", func() { p.Commit(0) })
	p.Flush()
	if rec, ok := c.Next(); !ok || len(rec) != 16 {
		t.Errorf("got %d bytes, %v", len(rec), ok)
	}
}

// A full ring takes nothing, and takes it after a release.
func TestFull(t *testing.T) {
	mem, g := heapRing(t, 4096)
	p, c := newPair(t, mem, g, nil, nil)
	n := 0
	for ; ; n++ {
		if _, err := p.Reserve(56); err == ring.ErrFull {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.Commit(56)
	}
	if n != 64 {
		t.Errorf("%d records of 64 bytes fit in 4096", n)
	}
	if err := p.Wait(testContext(t), 56); !errors.Is(err, ring.ErrNoDoorbell) {
		t.Errorf("Wait without a Doorbell: %v", err)
	}
	for range 16 { // a quarter: the space is published
		if _, ok := c.Next(); !ok {
			t.Fatal(c.Err())
		}
		c.Release()
	}
	if _, err := p.Reserve(56); err != nil {
		t.Error(err)
	}
	if high := p.Counters().HighWater; high != 4096 {
		t.Errorf("high-water mark %d, want 4096", high)
	}
}

// Nothing allocates, neither the fast paths nor a full round through both
// slow ones.
func TestAllocations(t *testing.T) {
	mem, g := heapRing(t, 4096)
	p, c := newPair(t, mem, g, nil, nil)
	ctx, rec, sum := testContext(t), make([]byte, 100), 0
	allocs := testing.AllocsPerRun(1000, func() {
		for range 100 {
			if err := p.Write(ctx, rec); err != nil {
				t.Fatal(err)
			}
			if err := c.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			got, _ := c.Next()
			sum += len(got)
			c.Release()
		}
	})
	if allocs != 0 || sum == 0 {
		t.Errorf("%v allocations for 100 records (%d bytes)", allocs, sum)
	}
}
