// SPDX-License-Identifier: MIT

package kshmtest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"kshm"
	"kshm/kshmtest"
	"kshm/ring"
)

// driverBell is the driver's end of the doorbell, for a side that never sleeps.
type driverBell struct{ *kshmtest.Share }

func (b driverBell) Kick() error                                        { b.Notify(); return nil }
func (b driverBell) Events() uint64                                     { return 0 }
func (b driverBell) Wait(ctx context.Context, _ uint64) (uint64, error) { return 0, ctx.Err() }

// Close in the middle of Merger.All: every record that the driver published
// comes out, in order, though another ring is silent; then ErrClosed.
func TestMergeUntilClose(t *testing.T) {
	var l ring.Layout
	g, err := l.Add(ring.ToUser, 3, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	some, produced := make(chan struct{}), make(chan uint64, 1)
	source := func(s *kshmtest.Share) { // into two of the rings, until the end
		defer s.Exit()
		var n uint64
		defer func() { produced <- n }()
		var p [2]*ring.Producer
		for i := range p {
			var err error
			if p[i], err = ring.NewProducer(s.Base, g, i, driverBell{s}); err != nil {
				t.Error(err)
				return
			}
		}
		for ; !s.Ending(); n++ {
			rec, err := p[n%2].Reserve(8)
			if err != nil { // full
				return
			}
			binary.NativeEndian.PutUint64(rec, n+1)
			p[n%2].Commit(8)
			p[n%2].Flush()
			if n == 100 {
				close(some)
			}
		}
	}
	dev, err := kshmtest.Open(&kshmtest.Kit{Share: func(s *kshmtest.Share) kshmtest.Status {
		if err := ring.Format(s.Base, g); err != nil || !s.Enter() {
			return kshmtest.StatusNotSupported
		}
		go source(s)
		return kshmtest.StatusSuccess
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	buf, err := dev.Alloc(l.Size(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer buf.Close()
	share, err := dev.Share(buf, nil)
	if err != nil {
		t.Fatal(err)
	}
	var rings []*ring.Consumer
	for i := range g.Count {
		c, err := ring.NewConsumer(buf.Bytes(), g, i, share)
		if err != nil {
			t.Fatal(err)
		}
		rings = append(rings, c)
	}
	m, err := ring.NewMerger(time.Hour, rings...)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-some
		share.Close()
	}()
	var n uint64
	for _, rec := range m.All(t.Context()) {
		if n++; binary.NativeEndian.Uint64(rec) != n {
			t.Fatalf("record %d has time %d", n, binary.NativeEndian.Uint64(rec))
		}
	}
	if want := <-produced; n != want || !errors.Is(m.Err(), kshm.ErrClosed) {
		t.Errorf("%d of %d records, then %v", n, want, m.Err())
	}
}
