// SPDX-License-Identifier: MIT

package ring_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kshm/ring"
)

// bell is one end of a Doorbell between goroutines.
type bell struct {
	mu    sync.Mutex
	count uint64
	ring  chan struct{}
	end   error // no more rings will come
	peer  *bell
	kicks atomic.Uint64
}

func newBells() (a, b *bell) {
	a, b = &bell{ring: make(chan struct{})}, &bell{ring: make(chan struct{})}
	a.peer, b.peer = b, a
	return a, b
}

func (b *bell) Kick() error {
	b.kicks.Add(1)
	p := b.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	close(p.ring)
	p.ring = make(chan struct{})
	return nil
}

func (b *bell) Events() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

func (b *bell) Wait(ctx context.Context, seen uint64) (uint64, error) {
	for {
		b.mu.Lock()
		count, rung, end := b.count, b.ring, b.end
		b.mu.Unlock()
		if count > seen {
			return count, nil
		}
		if end != nil {
			return count, end
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return count, ctx.Err()
		}
	}
}

// finish says that no more rings will come, and why.
func (b *bell) finish(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end = why
	close(b.ring)
	b.ring = make(chan struct{})
}

// heapRing makes a ring in Go's own memory, where the race detector looks.
func heapRing(t testing.TB, capacity int) ([]byte, ring.Group) {
	t.Helper()
	var l ring.Layout
	g, err := l.Add(ring.ToUser, 1, capacity)
	if err != nil {
		t.Fatal(err)
	}
	mem := make([]byte, l.Size())
	if err := ring.Format(mem, g); err != nil {
		t.Fatal(err)
	}
	return mem, g
}

// newPair makes both ends of a ring.
func newPair(t testing.TB, mem []byte, g ring.Group, pb, cb ring.Doorbell) (*ring.Producer, *ring.Consumer) {
	t.Helper()
	p, err := ring.NewProducer(mem, g, 0, pb)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ring.NewConsumer(mem, g, 0, cb)
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

// mix and script are those of driver/test/ring/peer.h: both sides know what the
// other should have written.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

type script struct {
	seed, n uint64
	max     int
	buf     []byte
}

func newScript(seed uint64, max int) *script {
	return &script{seed: seed, max: max, buf: make([]byte, max)}
}

// next is the following record. Most are short, some as long as can be.
func (s *script) next() []byte {
	s.n++
	h := mix(s.seed + s.n)
	length := h % min(uint64(s.max)+1, 201)
	if (h>>32)%50 == 0 {
		length = (h >> 40) % uint64(s.max+1)
	}
	word := mix(^(s.seed + s.n))
	rec := s.buf[:length]
	for i := range rec {
		rec[i] = byte(word >> (i % 8 * 8))
	}
	return rec
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
