// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"context"
	"encoding/binary"
	"os"
	"runtime"
	"time"

	"kshm/ring"
)

const (
	ours = "kshm"
	cToC = "c-to-c"
	cToG = "c-to-go"
	gToC = "go-to-c"
	gToG = "go-to-go"
	trip = "round-trip"
	bare = "publish"
)

// works are the variants of a round, in the order of their turns.
func (l *lab) works() []work {
	both := []int{1, 32}
	w := []work{
		{cToC, ours, cToC, both, l.inC("kshm")},
		{cToG, ours, cToG, both, l.fromC},
		{gToC, ours, gToC, both, l.toC},
		{gToG, ours, gToG, both, l.inGo},
		{trip, ours, trip, []int{1}, l.inC("rtt")},
		{bare, ours, bare, both, l.publish},
		{bare, "c", bare, both, l.inC("publish")},
		{trip, "cache-line", trip, []int{1}, l.inC("probe")},
		{gToG, "channel", gToG, []int{1}, l.channel},
		{gToG, "pipe", gToG, both, l.files(os.Pipe)},
		{gToG, "unix-socket", gToG, []int{1}, l.files(socketPair)},
	}
	if l.c.libck {
		w = append(w, work{cToC, "ck_ring", cToC, both, l.inC("ck")})
	}
	if l.c.dpdk {
		w = append(w, work{cToC, "rte_ring", cToC, both, l.inC("rte")})
	}
	for i := range w {
		run := w[i].run
		w[i].run = func(ctx context.Context, c trialCase) (result, error) {
			if err := l.format(); err != nil {
				return result{}, err
			}
			return run(ctx, c)
		}
	}
	return w
}

func (l *lab) inC(name string) func(context.Context, trialCase) (result, error) {
	return func(_ context.Context, c trialCase) (result, error) { return l.c.trial(name, c) }
}

// fromC has the producer in the C process, on its processor.
func (l *lab) fromC(_ context.Context, c trialCase) (result, error) {
	consumer, err := ring.NewConsumer(l.mem, l.out, 0, nil)
	if err != nil {
		return result{}, err
	}
	if err := l.c.prepare("produce", c); err != nil {
		return result{}, err
	}
	var r result
	err = l.onCPU(1, &r, func() error {
		if err := l.c.start(); err != nil {
			return err
		}
		consume(consumer, &r)
		return nil
	})
	if err != nil {
		return r, err
	}
	other, err := l.c.end()
	r.preempted += other.preempted
	return r, err
}

// toC has the consumer in the C process.
func (l *lab) toC(_ context.Context, c trialCase) (result, error) {
	producer, err := ring.NewProducer(l.mem, l.in, 0, nil)
	if err != nil {
		return result{}, err
	}
	if err := l.c.prepare("consume", c); err != nil {
		return result{}, err
	}
	var mine result
	err = l.onCPU(0, &mine, func() error {
		if err := l.c.start(); err != nil {
			return err
		}
		produce(producer, c)
		return nil
	})
	if err != nil {
		return mine, err
	}
	r, err := l.c.end()
	r.preempted += mine.preempted
	return r, err
}

// inGo has both ends in this process.
func (l *lab) inGo(_ context.Context, c trialCase) (result, error) {
	producer, err := ring.NewProducer(l.mem, l.in, 0, nil)
	if err != nil {
		return result{}, err
	}
	consumer, err := ring.NewConsumer(l.mem, l.in, 0, nil)
	if err != nil {
		return result{}, err
	}
	return l.together(
		func() error { produce(producer, c); return nil },
		func(r *result) error { consume(consumer, r); return nil })
}

// look is how many records pass between two looks at the clock.
const look = 256

// produce writes records for the time of a trial, then one of no bytes.
func produce(p *ring.Producer, c trialCase) {
	end := time.Now().Add(c.trial)
	n, left := 0, c.batch
	for {
		for range look {
			rec, err := p.Reserve(c.size)
			for err != nil {
				p.Flush()
				rec, err = p.Reserve(c.size)
			}
			fill(rec, uint64(n))
			p.Commit(c.size)
			n++
			if left--; left == 0 {
				p.Flush()
				left = c.batch
			}
		}
		if time.Now().After(end) {
			break
		}
	}
	for {
		p.Flush()
		if _, err := p.Reserve(0); err == nil {
			break
		}
	}
	p.Commit(0)
	p.Flush()
}

// consume sums records up to one of no bytes. Its time begins with the first.
func consume(c *ring.Consumer, r *result) {
	var start time.Time
	var total uint64
	for {
		rec, ok := c.Next()
		if !ok {
			continue
		}
		if len(rec) == 0 {
			break
		}
		if r.records == 0 {
			start = time.Now()
		}
		r.records++
		total += sum(rec)
		c.Release()
	}
	r.took = time.Since(start)
	runtime.KeepAlive(total)
}

// publish is a producer alone: the consumer never looks while it is timed.
func (l *lab) publish(_ context.Context, c trialCase) (result, error) {
	producer, err := ring.NewProducer(l.mem, l.in, 0, nil)
	if err != nil {
		return result{}, err
	}
	consumer, err := ring.NewConsumer(l.mem, l.in, 0, nil)
	if err != nil {
		return result{}, err
	}
	var r result
	err = l.onCPU(0, &r, func() error {
		// The first time, the lines come from the other processor.
		var warm result
		for end := time.Now().Add(c.trial / 4); r.records == 0 || time.Now().Before(end); {
			into := &r
			if warm.records == 0 {
				into = &warm
			}
			fillRing(producer, c, into)
			for _, ok := consumer.Next(); ok; _, ok = consumer.Next() {
				consumer.Release()
			}
		}
		return nil
	})
	return r, err
}

// fillRing times records of 8 bytes, whatever the size: the publishing and not
// the payload is meant. The space is known before.
func fillRing(p *ring.Producer, c trialCase, r *result) {
	const records = capacity/16 - 64
	if _, err := p.Reserve(p.MaxRecord()); err != nil {
		return
	}
	left := c.batch
	start := time.Now()
	for n := 1; n <= records; n++ {
		rec, err := p.Reserve(8)
		if err != nil {
			break
		}
		binary.NativeEndian.PutUint64(rec, uint64(n))
		p.Commit(8)
		if left--; left == 0 {
			p.Flush()
			left = c.batch
		}
	}
	r.took += time.Since(start)
	r.records += records
	p.Flush()
}

func fill(rec []byte, n uint64) {
	for ; len(rec) >= 32; rec = rec[32:] {
		binary.NativeEndian.PutUint64(rec, n)
		binary.NativeEndian.PutUint64(rec[8:], n+1)
		binary.NativeEndian.PutUint64(rec[16:], n+2)
		binary.NativeEndian.PutUint64(rec[24:], n+3)
	}
	for ; len(rec) >= 8; rec = rec[8:] {
		binary.NativeEndian.PutUint64(rec, n)
	}
}

func sum(rec []byte) (total uint64) {
	for ; len(rec) >= 32; rec = rec[32:] {
		total += binary.NativeEndian.Uint64(rec) + binary.NativeEndian.Uint64(rec[8:]) +
			binary.NativeEndian.Uint64(rec[16:]) + binary.NativeEndian.Uint64(rec[24:])
	}
	for ; len(rec) >= 8; rec = rec[8:] {
		total += binary.NativeEndian.Uint64(rec)
	}
	return total
}
