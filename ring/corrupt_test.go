// SPDX-License-Identifier: MIT

package ring_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"kshm/ring"
)

// Where the words are: the test states the layout anew, as a hostile peer that
// reads docs/protocol.md would.
const (
	producerAt = 128
	consumerAt = 384
	dataAt     = 8192
)

func poke(mem []byte, at int, word uint64) { binary.NativeEndian.PutUint64(mem[at:], word) }

func record(kind, length uint64) uint64 { return kind<<32 | length }

// Every way to break the protocol gets its reason and its offset, and stays.
func TestConsumerVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		position, header uint64
		reason           ring.Reason
		offset           int
	}{
		"unaligned":         {2036, record(1, 8), ring.Unaligned, producerAt},
		"behind":            {992, record(1, 8), ring.Backward, producerAt},
		"beyond":            {1000 + 4096 + 8, record(1, 8), ring.Beyond, producerAt},
		"far beyond":        {1 << 63, record(1, 8), ring.Beyond, producerAt},
		"kind 0":            {2048, 0, ring.BadKind, dataAt + 1000},
		"kind 3":            {2048, record(3, 8), ring.BadKind, dataAt + 1000},
		"too long":          {1000 + 4096, record(1, 2041), ring.BadLength, dataAt + 1000},
		"longest word":      {1000 + 4096, record(1, 1<<32-1), ring.BadLength, dataAt + 1000},
		"not published":     {1000 + 24, record(1, 17), ring.Unpublished, dataAt + 1000},
		"short skip":        {1000 + 4096, record(2, 2000), ring.BadSkip, dataAt + 1000},
		"skip not to end":   {1000 + 4096, record(2, 8), ring.BadSkip, dataAt + 1000},
		"length above skip": {1000 + 4096, record(2, 3088), ring.BadLength, dataAt + 1000},
	} {
		t.Run(name, func(t *testing.T) {
			mem, g := heapRing(t, 4096)
			p, c2 := newPair(t, mem, g, nil, nil)
			advance(t, p, c2, 992) // to position 1000
			poke(mem, dataAt+1000, c.header)
			poke(mem, producerAt, c.position)
			rec, ok := c2.Next()
			if ok {
				t.Fatalf("got a record of %d bytes", len(rec))
			}
			wantVerdict(t, c2.Err(), c.reason, c.offset)
			poke(mem, producerAt, 1024)
			poke(mem, dataAt+1000, record(1, 8))
			if _, ok := c2.Next(); ok {
				t.Error("the ring lives again")
			}
			wantVerdict(t, c2.Wait(testContext(t)), c.reason, c.offset)
			wantVerdict(t, c2.Flush(), c.reason, c.offset)
		})
	}
}

// Records that wrap and skips at the start, which need a position near the end.
func TestConsumerVerdictsAtTheEnd(t *testing.T) {
	mem, g := heapRing(t, 4096)
	p, c := newPair(t, mem, g, nil, nil)
	advance(t, p, c, 1992)
	advance(t, p, c, 1992) // position 4000
	poke(mem, dataAt+4000, record(1, 96))
	poke(mem, producerAt, 5000)
	if _, ok := c.Next(); ok {
		t.Fatal("got a record past the end")
	}
	wantVerdict(t, c.Err(), ring.Wrapped, dataAt+4000)

	mem, g = heapRing(t, 4096)
	_, c = newPair(t, mem, g, nil, nil)
	poke(mem, dataAt, record(2, 2040))
	poke(mem, producerAt, 4096)
	if _, ok := c.Next(); ok {
		t.Fatal("got a skip")
	}
	wantVerdict(t, c.Err(), ring.BadSkip, dataAt)
}

func TestProducerVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		position uint64
		reason   ring.Reason
	}{
		"unaligned": {1004, ring.Unaligned},
		"behind":    {992, ring.Backward},
		"beyond":    {5104, ring.Beyond},
		"far":       {^uint64(7), ring.Beyond},
	} {
		t.Run(name, func(t *testing.T) {
			mem, g := heapRing(t, 4096)
			p, c2 := newPair(t, mem, g, nil, nil)
			advance(t, p, c2, 992) // to position 1000
			fill := func() (err error) {
				for err == nil {
					if _, err = p.Reserve(40); err == nil {
						p.Commit(40)
						p.Flush()
					}
				}
				return err
			}
			if err := fill(); err != ring.ErrFull {
				t.Fatal(err)
			}
			poke(mem, consumerAt, c.position)
			wantVerdict(t, fill(), c.reason, consumerAt)
			poke(mem, consumerAt, 2000)
			wantVerdict(t, fill(), c.reason, consumerAt)
			wantVerdict(t, p.Flush(), c.reason, consumerAt)
			wantVerdict(t, p.Write(testContext(t), nil), c.reason, consumerAt)
			wantVerdict(t, p.Err(), c.reason, consumerAt)
		})
	}
}

// advance passes one record of n bytes.
func advance(t *testing.T, p *ring.Producer, c *ring.Consumer, n int) {
	t.Helper()
	if err := p.Write(testContext(t), make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Next(); !ok {
		t.Fatal(c.Err())
	}
	c.Release()
}

func wantVerdict(t *testing.T, err error, reason ring.Reason, offset int) {
	t.Helper()
	var corrupt *ring.CorruptError
	if !errors.As(err, &corrupt) || !errors.Is(err, ring.ErrCorrupt) {
		t.Fatalf("got %v, want a CorruptError", err)
	}
	if corrupt.Reason != reason || corrupt.Offset != uint64(offset) {
		t.Errorf("got %v, want %v at %d", err, reason, offset)
	}
}

// A record that turns into a skip between two looks is no record any more:
// there is nothing left to release.
func TestRecordTurnsIntoSkip(t *testing.T) {
	mem, g := heapRing(t, 4096)
	p, c := newPair(t, mem, g, nil, nil)
	advance(t, p, c, 1992)
	advance(t, p, c, 1992) // to position 4000
	if err := p.Write(testContext(t), make([]byte, 88)); err != nil {
		t.Fatal(err)
	}
	if rec, ok := c.Next(); !ok || len(rec) != 88 {
		t.Fatalf("got %d bytes, %v", len(rec), c.Err())
	}
	poke(mem, dataAt+4000, record(2, 88))
	if _, ok := c.Next(); ok {
		t.Fatal("got a record after a skip to the end of all records")
	}
	c.Release()
	c.Flush()
	if n := c.Counters(); n.Records != 2 {
		t.Errorf("%d records released, want 2", n.Records)
	}
	if at := binary.NativeEndian.Uint64(mem[consumerAt:]); at != 4096 {
		t.Errorf("consumer at %d of 4096 published bytes", at)
	}
}
