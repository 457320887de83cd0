// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"kshm"
	"kshm/ring"
)

// Records of all sizes go through rings and come back whole and in order, many
// times around, with both sides falling asleep for want of records and of space.
func TestRingEcho(t *testing.T) {
	const records = 600
	dev := open(t, "loop")
	if dev.Info().Features&kshm.FeatureRings == 0 {
		t.Fatal("loop does not say that it takes rings")
	}
	var l ring.Layout
	up, err := l.Add(ring.ToKernel, 2, 4096)
	if err != nil {
		t.Fatal(err)
	}
	down, err := l.Add(ring.ToUser, 2, 8192)
	if err != nil {
		t.Fatal(err)
	}
	s, buf := share(t, dev, l.Size(), &kshm.ShareOptions{Rings: l.Groups()})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 2 {
		p, err := ring.NewProducer(buf.Bytes(), up, i, s)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ring.NewConsumer(buf.Bytes(), down, i, s)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := send(ctx, p, records); err != nil {
				t.Errorf("ring %d: send: %v", i, err)
			}
		})
		wg.Go(func() {
			if err := receive(ctx, c, records); err != nil {
				t.Errorf("ring %d: receive: %v", i, err)
			}
		})
	}
	wg.Wait()
	st, err := s.Stats()
	if err != nil || st.Kicks == 0 || st.Events == 0 {
		t.Errorf("stats %+v, %v: neither side has slept", st, err)
	}
}

// record is the nth record: of any length up to half a small ring.
func record(n int) []byte {
	b := bytes.Repeat([]byte{byte(n)}, 8+n*37%1500)
	binary.LittleEndian.PutUint64(b, uint64(n))
	return b
}

func send(ctx context.Context, p *ring.Producer, n int) error {
	for i := range n {
		if err := p.Write(ctx, record(i)); err != nil {
			return err
		}
	}
	return p.Flush()
}

func receive(ctx context.Context, c *ring.Consumer, n int) error {
	i := 0
	for rec := range c.All(ctx) {
		if !bytes.Equal(rec, record(i)) {
			return fmt.Errorf("record %d is %d bytes that are not what was sent", i, len(rec))
		}
		if i++; i == n {
			return nil
		}
	}
	return errors.Join(c.Err(), ctx.Err(), fmt.Errorf("%d of %d records came", i, n))
}

// A position that breaks the protocol ends the share, with its place.
func TestRingCorrupt(t *testing.T) {
	dev := open(t, "loop")
	var l ring.Layout
	if _, err := l.Add(ring.ToKernel, 1, 4096); err != nil {
		t.Fatal(err)
	}
	s, buf := share(t, dev, l.Size(), &kshm.ShareOptions{Rings: l.Groups()})
	binary.LittleEndian.PutUint64(buf.Bytes()[128:], 12) // the producer's position
	if err := s.Kick(); err != nil && !errors.Is(err, kshm.ErrCorrupt) {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(time.Minute):
		t.Fatal("the share lives on")
	}
	mustBe(t, "the share's end", s.Err(), kshm.ErrCorrupt)
	if st, err := s.Stats(); err != nil || st.CorruptOffset != 128 || st.CorruptWhy != 1 {
		t.Errorf("stats %+v, %v", st, err)
	}
}
