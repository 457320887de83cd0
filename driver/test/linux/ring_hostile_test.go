// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"kshm"
	"kshm/internal/abi"
	"kshm/ring"
)

// Places in a share of two pairs of rings of the smallest capacity, and where
// the first pair stands after warmUp.
const (
	toKernel = 0
	toUser   = 3 << 12
	prodPos  = 128
	consPos  = 384
	position = warmUps * 16
	header   = toKernel + 8192 + position%4096
	warmUps  = 600
)

func headerWord(kind, length uint64) uint64 { return kind<<32 | length }

// damage is what a program does to a word, and what the driver must say of it:
// nothing, if it depends on no such word.
type damage struct {
	name  string
	at    int
	value uint64
	want  ring.Reason
}

func damages() []damage {
	list := []damage{
		{"unaligned producer", toKernel + prodPos, position + 1, ring.Unaligned},
		{"producer goes back", toKernel + prodPos, position - 16, ring.Backward},
		{"producer beyond", toKernel + prodPos, position + 4096 + 8, ring.Beyond},
		{"producer at the end of numbers", toKernel + prodPos, 1<<64 - 8, ring.Beyond},
		{"unaligned consumer", toUser + consPos, position - 1, ring.Unaligned},
		{"consumer goes back", toUser + consPos, 8, ring.Backward},
		{"consumer beyond", toUser + consPos, 1 << 40, ring.Beyond},
		{"no kind", header, headerWord(0, 8), ring.BadKind},
		{"unknown kind", header, headerWord(3, 8), ring.BadKind},
		{"long record", header, headerWord(1, 2041), ring.BadLength},
		{"longest length", header, headerWord(1, 1<<32-1), ring.BadLength},
		{"unpublished record", header, headerWord(1, 9), ring.Unpublished},
		{"skip in the middle", header, headerWord(2, 8), ring.BadSkip},
	}
	harmless := func(at int) {
		list = append(list, damage{fmt.Sprintf("word at %d", at), at, 1<<64 - 1, 0})
	}
	for _, base := range []int{toKernel, toUser} {
		for _, at := range []int{0, 8, 16, 24, 136, 256, 392, 512, 4096, 6144} {
			harmless(base + at)
		}
	}
	harmless(toKernel + consPos) // what the driver writes itself
	harmless(toUser + prodPos)
	return list
}

// pair is an echo: a ring there and a ring back.
type pair struct {
	p *ring.Producer
	c *ring.Consumer
}

// pairs shares two of them.
func pairs(t testing.TB, dev *kshm.Device, cookie uint64) (*kshm.Share, []byte, [2]pair) {
	t.Helper()
	var l ring.Layout
	var up, down [2]ring.Group
	for i := range 2 {
		up[i], down[i] = add(t, &l, ring.ToKernel, 1, 4096), add(t, &l, ring.ToUser, 1, 4096)
	}
	s, mem := ringShare(t, dev, &l, cookie)
	var e [2]pair
	for i := range e {
		e[i] = pair{producer(t, mem, up[i], 0, s), consumer(t, mem, down[i], 0, s)}
	}
	return s, mem, e
}

// there and back again.
func (e pair) echo(ctx context.Context, size int) error {
	if err := errors.Join(e.p.Write(ctx, make([]byte, size)), e.c.Wait(ctx)); err != nil {
		return err
	}
	e.c.Next()
	e.c.Release()
	return e.c.Flush()
}

func wordAt(t testing.TB, mem []byte, at int) *atomic.Uint64 {
	t.Helper()
	w, err := kshm.View[atomic.Uint64](mem, at)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Whatever the program does to a word of the control pages or to a record's
// header: either the driver does not depend on it, or the share ends and says
// which word it was and why.
func TestHostileWords(t *testing.T) {
	dev := open(t, "loop")
	for _, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			s, mem, e := pairs(t, dev, 26)
			for range warmUps {
				if err := e[0].echo(t.Context(), 8); err != nil {
					t.Fatal(err)
				}
			}
			wordAt(t, mem, d.at).Store(d.value)
			if d.at == header {
				wordAt(t, mem, toKernel+prodPos).Store(position + 16)
			}
			s.Kick() // may find the share ended
			for range 3 {
				// Until the driver looks for space on the way back.
				if d.at == toUser+consPos && e[0].p.Write(t.Context(), make([]byte, 2000)) != nil {
					break
				}
			}
			if d.want != 0 {
				<-s.Done()
			} else if err := e[1].echo(t.Context(), 100); err != nil {
				t.Errorf("the other rings: %v", err)
			}
			st, err := s.Stats()
			if err != nil || st.CorruptWhy != uint32(d.want) || (d.want != 0 && st.CorruptOffset != uint64(d.at)) {
				t.Errorf("%+v, %v; want reason %d (%v) at %d", st, err, d.want, d.want, d.at)
			}
			if (d.want != 0) != errors.Is(s.Err(), kshm.ErrCorrupt) {
				t.Errorf("the share ended with %v", s.Err())
			}
		})
	}
}

// driversDamages is what becomes of words that the driver writes and the
// program reads, as if the driver were the one that goes wrong.
func driversDamages() []damage {
	const record = toUser + 8192 + position%4096
	return []damage{
		{"unaligned producer", toUser + prodPos, position + 1, ring.Unaligned},
		{"producer goes back", toUser + prodPos, position - 16, ring.Backward},
		{"producer beyond", toUser + prodPos, position + 4096 + 8, ring.Beyond},
		{"unaligned consumer", toKernel + consPos, position - 1, ring.Unaligned},
		{"consumer goes back", toKernel + consPos, 8, ring.Backward},
		{"consumer beyond", toKernel + consPos, position + 8, ring.Beyond},
		{"no kind", record, headerWord(0, 8), ring.BadKind},
		{"unknown kind", record, headerWord(3, 8), ring.BadKind},
		{"long record", record, headerWord(1, 2041), ring.BadLength},
		{"unpublished record", record, headerWord(1, 9), ring.Unpublished},
		{"skip in the middle", record, headerWord(2, 8), ring.BadSkip},
	}
}

// use looks at the words that the driver writes: its record, and its space,
// which needs records that the driver does not see.
func (e pair) use() error {
	if _, ok := e.c.Next(); ok || e.c.Err() != nil {
		return e.c.Err()
	}
	for range 4096 / 16 {
		if _, err := e.p.Reserve(8); err != nil {
			return err
		}
		e.p.Commit(8)
	}
	return nil
}

// Whatever becomes of the driver's words: the program's ring says which word it
// was and why, and nothing else ends: not the driver's share, nor other rings.
func TestWordsOfTheDriver(t *testing.T) {
	dev := open(t, "loop")
	for _, d := range driversDamages() {
		t.Run(d.name, func(t *testing.T) {
			s, mem, e := pairs(t, dev, 33)
			for range warmUps {
				if err := e[0].echo(t.Context(), 8); err != nil {
					t.Fatal(err)
				}
			}
			wordAt(t, mem, d.at).Store(d.value)
			if d.at >= toUser+8192 {
				wordAt(t, mem, toUser+prodPos).Store(position + 16)
			}
			err := e[0].use()
			var why *ring.CorruptError
			if !errors.As(err, &why) || why.Reason != d.want || why.Offset != uint64(d.at) {
				t.Errorf("the ring says %v; want %v at %d", err, d.want, d.at)
			}
			if err := e[1].echo(t.Context(), 100); err != nil {
				t.Errorf("the other rings: %v", err)
			}
			if st, err := s.Stats(); err != nil || st.Reason != kshm.Live || st.CorruptWhy != 0 {
				t.Errorf("%+v, %v", st, err)
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if st, err := s.Stats(); err != nil || st.Reason != kshm.EndDone {
				t.Errorf("the share ended with %v, %v", st.Reason, err)
			}
		})
	}
}

// The same at random, while both sides work: nothing may come of it but an end.
func TestHostileStorm(t *testing.T) {
	dev := open(t, "loop")
	before := pinsHeld(t)
	var ended int
	for round := range uint64(150) {
		t.Run("round", func(t *testing.T) {
			s, mem, e := pairs(t, dev, 27)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for _, e := range e {
				wg.Go(func() {
					for e.p.Write(ctx, make([]byte, 100)) == nil {
					}
				})
				wg.Go(func() {
					for range e.c.All(ctx) {
					}
				})
			}
			r := rand.New(rand.NewPCG(2, round))
			for range 200 {
				vandalise(t, mem, r)
				s.Kick()
			}
			cancel()
			wg.Wait()
			st, err := s.Stats()
			if err != nil || (st.Reason != kshm.Live && st.Reason != kshm.EndCorrupt) {
				t.Errorf("%+v, %v", st, err)
			}
			if st.Reason == kshm.EndCorrupt {
				ended++
				if st.CorruptWhy == 0 || st.CorruptWhy >= abi.CorruptTimestamp || st.CorruptOffset%8 != 0 || st.CorruptOffset >= uint64(len(mem)) {
					t.Errorf("%+v", st)
				}
			}
		})
	}
	t.Logf("%d shares ended as corrupt", ended)
	if ended == 0 {
		t.Error("no damage was noticed")
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages still pinned", held)
	}
	_, _, e := pairs(t, dev, 28)
	for range 100 {
		if err := e[0].echo(t.Context(), 500); err != nil {
			t.Fatal(err)
		}
	}
}

// vandalise changes a word that matters, by little or by much.
func vandalise(t *testing.T, mem []byte, r *rand.Rand) {
	at := []int{prodPos, 136, 256, consPos, 512, 8192 + 8*r.IntN(512), 8 * r.IntN(1024)}[r.IntN(7)]
	w := wordAt(t, mem, r.IntN(4)*toUser+at)
	switch r.IntN(4) {
	case 0:
		w.Store(r.Uint64())
	case 1:
		w.Add(8 * r.Uint64N(600))
	case 2:
		w.Store(headerWord(r.Uint64N(4), r.Uint64N(5000)))
	default:
		w.Store(w.Load() ^ 1<<r.IntN(64))
	}
}
