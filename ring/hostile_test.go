// SPDX-License-Identifier: MIT

//go:build linux

package ring_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"kshm/ring"
)

var storms = flag.Int("storms", 300, "rounds of TestHostileWords")

// verdict is what the C side says of a ring: struct verdict of peer.c.
type verdict struct{ Why, Offset, Records, Bytes uint64 }

func (p *peer) verdicts(t *testing.T, n int) []verdict {
	t.Helper()
	v := make([]verdict, n)
	p.from.SetReadDeadline(time.Now().Add(time.Minute))
	if err := binary.Read(p.from, binary.NativeEndian, v); err != nil {
		t.Fatalf("the C side died or hangs: %v", err)
	}
	return v
}

// Both sides work while every word that either reads is overwritten. Each
// round ends with good rings or verdicts; nobody crashes, hangs, or writes
// outside the rings' data. The C side runs under ASAN and UBSAN between pages
// that it must not touch.
func TestHostileWords(t *testing.T) {
	n := *storms
	if testing.Short() {
		n /= 10
	}
	const capacity = 4096
	peer := startPeer(t, peerOptions{build: "asan", mode: "hostile", capacity: capacity, rings: 1, noPump: true})
	plain := [][]byte{peer.mem[8:peer.in.Offset], peer.mem[peer.in.Offset+peer.in.Size() : peer.out.Offset], peer.mem[peer.out.Offset+peer.out.Size():]}
	for _, page := range plain {
		fill(page, 0x5a)
	}
	var reasons [10][2]int
	for i := range n {
		goSide, cSide := storm(t, peer, uint64(i))
		reasons[goSide][0]++
		reasons[cSide][1]++
		for j, page := range plain {
			if !bytes.Equal(page, bytes.Repeat([]byte{0x5a}, len(page))) {
				t.Fatalf("round %d: plain page %d was written", i, j)
			}
		}
	}
	for why := 1; why < len(reasons); why++ {
		t.Logf("%-45v Go %4d, C %4d", ring.Reason(why), reasons[why][0], reasons[why][1])
	}
	for side := range 2 {
		if reasons[0][side] == n {
			t.Errorf("side %d: %d rounds and no verdict: nothing was tried", side, n)
		}
	}
}

// storm is one round; it returns each side's verdict, of the consumer first.
func storm(t *testing.T, peer *peer, seed uint64) (goWhy, cWhy ring.Reason) {
	stop, err := view(peer.mem, 0)
	if err != nil {
		t.Fatal(err)
	}
	atomic.StoreUint64(stop, 0)
	for _, g := range []ring.Group{peer.in, peer.out} {
		if err := ring.Format(peer.mem, g); err != nil {
			t.Fatal(err)
		}
	}
	p, err := ring.NewProducer(peer.mem, peer.in, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ring.NewConsumer(peer.mem, peer.out, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.toPeer.Write([]byte{'g'}); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	for end := time.Now().Add(2 * time.Millisecond); time.Now().Before(end); {
		for range 20 {
			workHard(p, c, rng)
		}
		mutate(t, peer, rng)
	}
	atomic.StoreUint64(stop, 1)
	v := peer.verdicts(t, 2)
	return max(why(t, c.Err()), why(t, p.Err())), ring.Reason(max(v[0].Why, v[1].Why))
}

// workHard produces and consumes one record, if it can.
func workHard(p *ring.Producer, c *ring.Consumer, rng *rand.Rand) {
	if rec, err := p.Reserve(rng.IntN(p.MaxRecord() + 1)); err == nil {
		fill(rec, 'y')
		p.Commit(len(rec))
		p.Flush()
	}
	if rec, ok := c.Next(); ok {
		for _, b := range rec {
			sink += uint64(b)
		}
		c.Release()
	}
}

// mutate overwrites a word, of those that somebody reads more often: with anything, or with
// something near the truth.
func mutate(t *testing.T, peer *peer, rng *rand.Rand) {
	g := peer.in
	if rng.IntN(2) == 0 {
		g = peer.out
	}
	at := g.Offset + []int{producerAt, producerAt + 8, producerAt + 128, consumerAt, consumerAt + 128,
		8 * rng.IntN(dataAt/8), dataAt + 8*rng.IntN(g.Capacity/8)}[rng.IntN(7)]
	word, err := view(peer.mem, at)
	if err != nil {
		t.Fatal(err)
	}
	switch old := atomic.LoadUint64(word); rng.IntN(6) {
	case 0:
		atomic.StoreUint64(word, rng.Uint64())
	case 1:
		atomic.StoreUint64(word, old^1<<rng.IntN(64))
	case 2:
		atomic.StoreUint64(word, old+8*uint64(rng.IntN(64))-128)
	case 3:
		atomic.StoreUint64(word, record(uint64(rng.IntN(4)), uint64(rng.IntN(5000))))
	case 4:
		atomic.StoreUint64(word, old+1+uint64(rng.IntN(7)))
	}
}

func why(t *testing.T, err error) ring.Reason {
	t.Helper()
	if err == nil {
		return 0
	}
	var corrupt *ring.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Reason == 0 {
		t.Fatalf("got %v, want a CorruptError with a reason", err)
	}
	return corrupt.Reason
}

// fill writes with atomic-free stores, as a user of a reserved record would.
func fill(b []byte, with byte) {
	for i := range b {
		b[i] = with
	}
}

// The C and the Go side judge the same bytes alike: the same records, then
// the same reason at the same offset.
func TestVerdictsAgree(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n /= 10
	}
	peer := startPeer(t, peerOptions{build: "asan", mode: "judge", capacity: 4096, rings: 1, noPump: true})
	seen := map[ring.Reason]int{}
	for i := range n {
		rng := rand.New(rand.NewPCG(uint64(i), 2))
		if err := ring.Format(peer.mem, peer.in); err != nil {
			t.Fatal(err)
		}
		end := scribble(peer.mem[peer.in.Offset+dataAt:][:4096], rng)
		poke(peer.mem, peer.in.Offset+producerAt, end)
		c, err := ring.NewConsumer(peer.mem, peer.in, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, ok := c.Next(); ok; _, ok = c.Next() {
			c.Release()
		}
		if _, err := io.WriteString(peer.toPeer, "j"); err != nil {
			t.Fatal(err)
		}
		theirs, ours := peer.verdicts(t, 1)[0], verdictOf(t, c)
		if theirs != ours {
			t.Fatalf("round %d, position %d: Go says %+v, C says %+v", i, end, ours, theirs)
		}
		seen[ring.Reason(ours.Why)]++
	}
	for _, reason := range []ring.Reason{0, ring.Unaligned, ring.Beyond, ring.BadKind, ring.BadLength, ring.Unpublished, ring.Wrapped, ring.BadSkip} {
		if seen[reason] == 0 {
			t.Errorf("never saw %v", reason)
		}
	}
}

// scribble writes records that are mostly good, and returns a position.
func scribble(data []byte, rng *rand.Rand) uint64 {
	at := 0
	for at < len(data) {
		kind, length := uint64(1), rng.IntN(300)
		switch rng.IntN(60) {
		case 0:
			kind = rng.Uint64N(4)
		case 1:
			length = rng.IntN(4200)
		case 2:
			kind, length = 2, len(data)-at-8-8*rng.IntN(2)
		}
		size := (length + 15) &^ 7
		if size > len(data)-at && rng.IntN(4) != 0 {
			kind, length, size = 2, len(data)-at-8, len(data)-at
		}
		poke(data, at, record(kind, uint64(length)))
		if at += size; rng.IntN(30) == 0 {
			break
		}
	}
	switch rng.IntN(8) {
	case 0:
		return uint64(rng.IntN(8192))
	case 1:
		return uint64(8 * rng.IntN(513))
	}
	return min(uint64(at), 4096)
}

func verdictOf(t *testing.T, c *ring.Consumer) verdict {
	n := c.Counters()
	v := verdict{Records: n.Records, Bytes: n.Bytes}
	if v.Why = uint64(why(t, c.Err())); v.Why != 0 {
		var corrupt *ring.CorruptError
		errors.As(c.Err(), &corrupt)
		v.Offset = corrupt.Offset
	}
	return v
}
