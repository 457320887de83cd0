// SPDX-License-Identifier: MIT

package ring_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"kshm/ring"
)

func TestLayout(t *testing.T) {
	var l ring.Layout
	a, err := l.Add(ring.ToKernel, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	at := l.Plain(5000)
	b, err := l.Add(ring.ToUser, 8, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if want := (ring.Group{Offset: 0, Capacity: 4096, Count: 1, Direction: ring.ToKernel}); a != want {
		t.Errorf("first group %+v, want %+v", a, want)
	}
	if want := (ring.Group{Offset: 12288 + 8192, Capacity: 8192, Count: 8, Direction: ring.ToUser}); b != want || at != 12288 {
		t.Errorf("second group %+v after %d, want %+v", b, at, want)
	}
	if l.Size() != b.Offset+8*16384 || len(l.Groups()) != 2 {
		t.Errorf("%d bytes, %d groups", l.Size(), len(l.Groups()))
	}
	mem := make([]byte, l.Size())
	if _, err := ring.NewProducer(mem, a, 0, nil); !errors.Is(err, ring.ErrNotShared) {
		t.Errorf("attached to memory that was not shared: %v", err)
	}
	for _, g := range l.Groups() {
		if err := ring.Format(mem, g); err != nil {
			t.Fatal(err)
		}
	}
	for i := range b.Count {
		if _, err := ring.NewConsumer(mem, b, i, nil); err != nil {
			t.Error(err)
		}
	}
	other := b
	other.Capacity *= 2
	other.Count /= 4
	if _, err := ring.NewConsumer(mem, other, 0, nil); !errors.Is(err, ring.ErrNotShared) {
		t.Errorf("attached with other geometry: %v", err)
	}
	for _, index := range []int{-1, 8} {
		if _, err := ring.NewConsumer(mem, b, index, nil); !errors.Is(err, ring.ErrGeometry) {
			t.Errorf("attached to ring %d of 8: %v", index, err)
		}
	}
}

func TestGeometryErrors(t *testing.T) {
	good := ring.Group{Offset: 4096, Capacity: 4096, Count: 2, Direction: ring.ToUser}
	const length = 4096 + 2*12288
	if err := good.Validate(length); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ring.Group){
		"capacity below":  func(g *ring.Group) { g.Capacity = 2048 },
		"capacity odd":    func(g *ring.Group) { g.Capacity = 4104 },
		"capacity above":  func(g *ring.Group) { g.Capacity = math.MaxInt/2 + 1 },
		"no rings":        func(g *ring.Group) { g.Count = 0 },
		"negative count":  func(g *ring.Group) { g.Count = -1 },
		"too many rings":  func(g *ring.Group) { g.Count = ring.MaxCount + 1 },
		"past the end":    func(g *ring.Group) { g.Count = 3 },
		"offset past end": func(g *ring.Group) { g.Offset = math.MaxInt &^ 4095 },
		"offset odd":      func(g *ring.Group) { g.Offset = 8 },
		"offset negative": func(g *ring.Group) { g.Offset = -4096 },
		"direction":       func(g *ring.Group) { g.Direction = 2 },
	} {
		g := good
		change(&g)
		if err := g.Validate(length); !errors.Is(err, ring.ErrGeometry) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ring.NewProducer(make([]byte, length), g, 0, nil); !errors.Is(err, ring.ErrGeometry) {
			t.Errorf("%s: attached: %v", name, err)
		}
	}
	unaligned := make([]byte, length+8)[1 : 1+length]
	if err := ring.Format(unaligned, good); !errors.Is(err, ring.ErrGeometry) {
		t.Errorf("formatted unaligned memory: %v", err)
	}
	var l ring.Layout
	for _, capacity := range []int{0, -1, ring.MaxCapacity + 1} {
		if _, err := l.Add(ring.ToUser, 1, capacity); !errors.Is(err, ring.ErrGeometry) {
			t.Errorf("added a ring of %d bytes: %v", capacity, err)
		}
	}
	for range ring.MaxGroups {
		if _, err := l.Add(ring.ToUser, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Add(ring.ToUser, 1, 1); !errors.Is(err, ring.ErrGeometry) {
		t.Errorf("added group %d: %v", ring.MaxGroups, err)
	}
}

// SizeFor's promise, tried: a consumer that is away for the delay loses
// nothing, at any time of its life.
func TestSizeFor(t *testing.T) {
	for _, c := range []struct {
		rate   float64
		record int
		delay  time.Duration
		want   int
	}{
		{0, 0, 0, ring.MinCapacity},
		{1e6, 64, time.Millisecond, 1 << 18},
		{1e6, 100_000, time.Nanosecond, 1 << 18},
		{1e9, 64, time.Hour, ring.MaxCapacity},
	} {
		if got := ring.SizeFor(c.rate, c.record, c.delay); got != c.want {
			t.Errorf("SizeFor(%v, %d, %v) = %d, want %d", c.rate, c.record, c.delay, got, c.want)
		}
	}
	const record, away = 1000, 37
	capacity := ring.SizeFor(1e6, record, away*time.Microsecond)
	mem, g := heapRing(t, capacity)
	p, c := newPair(t, mem, g, nil, nil)
	for round := range 1000 {
		for i := range away {
			if _, err := p.Reserve(record); err != nil {
				t.Fatalf("round %d, record %d: %v", round, i, err)
			}
			p.Commit(record)
		}
		p.Flush()
		for range away {
			if _, ok := c.Next(); !ok {
				t.Fatal(c.Err())
			}
			c.Release()
		}
	}
}
