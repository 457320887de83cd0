// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"time"

	"kshm"
	"kshm/ring"
)

// guest is the bed inside a virtual machine, with the drivers loop and rival.
type guest struct {
	pair
	loop   *kshm.Device
	rival  *os.File // for the probe
	bpf    *ringbuf // nil where the kernel has no BPF
	cookie uint64
}

// RunGuest measures inside of a virtual machine; Machine starts one.
func RunGuest(ctx context.Context, o Options, machine string) (*Report, error) {
	g := &guest{pair: pair{cpus: o.CPUs, alone: true}}
	defer g.close()
	var err error
	if g.loop, err = kshm.Open("loop"); err != nil {
		return nil, err
	}
	if g.rival, err = openRival(); err != nil {
		return nil, err
	}
	if g.bpf, err = openRingbuf(); err != nil {
		return nil, fmt.Errorf("bench: BPF ring buffer: %w", err)
	}
	if err := placeWorkers(o.CPUs[1]); err != nil {
		return nil, err
	}
	return measure(ctx, o, machine, g)
}

// placeWorkers keeps the kernel's workers, loop's work() among them, on one
// processor. Else one may be woken on that of the producer, which looks for
// space and does not sleep: then each runs while the other has to wait, a
// hundred times slower, and the numbers tell of the scheduler.
func placeWorkers(cpu int) error {
	return os.WriteFile("/sys/devices/virtual/workqueue/cpumask", fmt.Appendf(nil, "%x", 1<<cpu), 0)
}

func (g *guest) close() {
	if g.bpf != nil {
		g.bpf.close()
	}
	if g.rival != nil {
		g.rival.Close()
	}
	if g.loop != nil {
		g.loop.Close()
	}
}

const (
	kToG     = "kernel-to-go"      // summed where it is
	kToGCopy = "kernel-to-go-copy" // copied out of the ring, then summed
	gToK     = "go-to-kernel"
)

// works are the variants of a round, in the order of their turns. "C to C" is
// kernel to kernel here.
func (g *guest) works() []work {
	both := []int{1, 32}
	return []work{
		{cToC, ours, cToC, both, paced(g.inKernel)},
		{kToG, ours, kToG, both, paced(g.toGo(false))},
		{kToGCopy, ours, kToGCopy, both, paced(g.toGo(true))},
		{kToGCopy, "read", kToGCopy, both, paced(g.read)},
		{kToGCopy, "bpf-ringbuf", kToGCopy, both, paced(g.ringbuf)},
		{gToK, ours, gToK, both, paced(g.toKernel)},
		{gToK, "write", gToK, both, paced(g.write)},
	}
}

// A count of records, and not a clock, ends a trial in here, since looking at
// the clock is a system call in user-mode Linux.
type counted func(c trialCase, records int) (result, error)

const (
	fewest = 64
	most   = 1 << 20
)

// paced finds how many records take the time of a trial, and goes on from what
// the one before said.
func paced(run counted) func(context.Context, trialCase) (result, error) {
	known := map[[2]int]int{}
	return func(ctx context.Context, c trialCase) (result, error) {
		key := [2]int{c.size, c.batch}
		n, warm := known[key]
		if !warm {
			n = 8 * fewest
		}
		for {
			r, err := run(c, n)
			if err != nil || ctx.Err() != nil || r.took <= 0 {
				return r, err
			}
			enough := r.took >= c.trial/2 || n == most
			rate := float64(r.records) / r.took.Seconds()
			n = min(max(int(rate*c.trial.Seconds()), fewest, min(n, most/4)/2), most) &^ (fewest - 1)
			known[key] = n
			if warm || enough {
				return r, nil
			}
		}
	}
}

// probe is a ping-pong of two threads within the kernel.
func (g *guest) probe() (time.Duration, error) {
	const rounds = 300
	first, second := rivalJob{Records: rounds, Size: 1}, rivalJob{Records: rounds, Size: 2}
	_, err := g.together(
		func() error { return ioctl(g.rival, rivalPing, &first) },
		func(*result) error { return ioctl(g.rival, rivalPing, &second) })
	return time.Duration(first.Ns) / (rounds - 1), err
}

// share makes one ring of a share with the loop driver.
func (g *guest) share(d ring.Direction) (s *kshm.Share, mem []byte, group ring.Group, end func(), err error) {
	var l ring.Layout
	if group, err = l.Add(d, 1, capacity); err != nil {
		return nil, nil, group, nil, err
	}
	buf, err := g.loop.Alloc(l.Size(), nil)
	if err != nil {
		return nil, nil, group, nil, err
	}
	g.cookie++
	s, err = g.loop.Share(buf, &kshm.ShareOptions{Cookie: g.cookie, Rings: []ring.Group{group}})
	if err != nil {
		buf.Close()
		return nil, nil, group, nil, err
	}
	return s, buf.Bytes(), group, func() { s.Close(); buf.Close() }, nil
}

// The codes of driver/samples/loop/loop.h, and struct loop_produce.
const (
	loopProduce = 1
	loopCounts  = 2
	loopWait    = 1
)

type loopCommand struct {
	Cookie, Records                           uint64
	Ring, Size, Batch, Context, Source, Flags uint32
}

// toGo has the driver produce.
func (g *guest) toGo(copyOut bool) counted {
	return func(c trialCase, records int) (result, error) {
		s, mem, group, end, err := g.share(ring.ToUser)
		if err != nil {
			return result{}, err
		}
		defer end()
		consumer, err := ring.NewConsumer(mem, group, 0, s)
		if err != nil {
			return result{}, err
		}
		var buf []byte
		if copyOut {
			buf = make([]byte, c.size)
		}
		in, _ := binary.Append(nil, binary.NativeEndian, loopCommand{
			Cookie: g.cookie, Records: uint64(records), Size: uint32(c.size), Batch: uint32(c.batch), Flags: loopWait,
		})
		var out [40]byte
		return g.together(
			func() error {
				_, err := g.loop.Control(context.Background(), loopProduce, in, out[:])
				return err
			},
			func(r *result) error { take(consumer, records, buf, r); return nil })
	}
}

// take sums n records, where they are or in a copy.
func take(c *ring.Consumer, n int, buf []byte, r *result) {
	var start time.Time
	var total uint64
	for i := 0; i < n; {
		rec, ok := c.Next()
		if !ok {
			if c.Err() != nil {
				return
			}
			continue
		}
		if i == 0 {
			start = time.Now()
		}
		if buf == nil {
			total += sum(rec)
			c.Release()
		} else {
			rec = buf[:copy(buf, rec)]
			c.Release()
			total += sum(rec)
		}
		i++
	}
	r.took, r.records = time.Since(start), uint64(n)
	runtime.KeepAlive(total)
}

// toKernel has the driver sum. It ends when the driver has counted the last.
func (g *guest) toKernel(c trialCase, records int) (result, error) {
	s, mem, group, end, err := g.share(ring.ToKernel)
	if err != nil {
		return result{}, err
	}
	defer end()
	producer, err := ring.NewProducer(mem, group, 0, s)
	if err != nil {
		return result{}, err
	}
	var r result
	err = g.onCPU(0, &r, func() error {
		start := time.Now()
		if err := push(producer, c, records); err != nil {
			return err
		}
		for done := uint64(0); done < uint64(records); {
			if done, err = g.counted(); err != nil {
				return err
			}
		}
		r.took, r.records = time.Since(start), uint64(records)
		return nil
	})
	return r, err
}

// counted asks the driver how many records it has had.
func (g *guest) counted() (uint64, error) {
	var out [24]byte
	_, err := g.loop.Control(context.Background(), loopCounts, binary.NativeEndian.AppendUint64(nil, g.cookie), out[:])
	return binary.NativeEndian.Uint64(out[8:]), err
}

// push writes n records and waits, awake, for space.
func push(p *ring.Producer, c trialCase, n int) error {
	for i := 0; i < n; {
		rec, err := p.Reserve(c.size)
		if err == ring.ErrFull {
			err = p.Flush()
		} else if err == nil {
			fill(rec, uint64(i))
			p.Commit(c.size)
			if i++; i%c.batch == 0 {
				err = p.Flush()
			}
		}
		if err != nil {
			return err
		}
	}
	return p.Flush()
}
