// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/live"
	"kshm/bpf/loop"
	"kshm/ring"
)

// bpfBed is the lab, for the same ring from C to C, and eBPF objects.
type bpfBed struct {
	*lab
	loop   *kshm.Device
	progs  *ebpf.Collection     // of the latest share of loop
	live   map[int]*kshm.Device // by record size
	rivals map[int]*rivals
}

// RunBPF measures rings in an arena beside what the kernel has for the same.
func RunBPF(ctx context.Context, o Options) (*Report, error) {
	b := &bpfBed{live: map[int]*kshm.Device{}, rivals: map[int]*rivals{}}
	defer b.close()
	if err := b.open(o.Sizes); err != nil {
		return nil, err
	}
	var err error
	if b.lab, err = newLab(ctx, o); err != nil {
		return nil, err
	}
	defer b.lab.close()
	report, err := measure(ctx, o, BPF, b)
	if err == nil {
		report.Runs[0].About = "this machine, with eBPF as the kernel side"
	}
	return report, err
}

func (b *bpfBed) open(sizes []int) error {
	spec, err := loop.Load()
	if err != nil {
		return err
	}
	b.loop, err = bpf.Open(spec, &bpf.Options{Name: "loop", Attach: func(c *ebpf.Collection) ([]link.Link, error) {
		b.progs = c
		return nil, nil
	}})
	if err != nil {
		return err
	}
	for _, size := range sizes {
		if b.rivals[size], err = openRivals(size); err != nil {
			return err
		}
		if spec, err = live.Load(size); err != nil {
			return err
		}
		if b.live[size], err = bpf.Open(spec, &bpf.Options{Name: "live"}); err != nil {
			return err
		}
	}
	return nil
}

func (b *bpfBed) close() {
	for _, d := range b.live {
		d.Close()
	}
	for _, r := range b.rivals {
		r.close()
	}
	if b.loop != nil {
		b.loop.Close()
	}
}

// works are the variants of a round, in the order of their turns.
func (b *bpfBed) works() []work {
	both, many, one := []int{1, 32}, []int{32}, []int{1}
	rival := func(f func(*rivals, context.Context, pair, trialCase) (result, error)) func(context.Context, trialCase) (result, error) {
		return func(ctx context.Context, c trialCase) (result, error) { return f(b.rivals[c.size], ctx, b.pair, c) }
	}
	return []work{
		{cToC, ours, cToC, both, func(_ context.Context, c trialCase) (result, error) {
			if err := b.format(); err != nil {
				return result{}, err
			}
			return b.c.trial("kshm", c)
		}},
		{bToG, ours, bToG, both, b.run(false)},
		{bToGCopy, ours, bToGCopy, both, b.run(true)},
		{bToG, tunedRing, bToG, many, rival((*rivals).tuned)},
		{bToG, "ringbuf ReadInto, spinning", bToG, many, rival((*rivals).spinning)},
		{bToG, "ringbuf ReadInto", bToG, both, rival((*rivals).byDefault)},
		{bToG, "ringbuf Read", bToG, both, rival((*rivals).read)},
		{hToG, ours, hToG, many, b.hook},
		{hToG, tunedRing, hToG, many, rival((*rivals).hookTuned)},
		{hToG, "ringbuf ReadInto", hToG, many, rival((*rivals).hookDefault)},
		{hToG, "perf Reader", hToG, many, rival((*rivals).hookPerf)},
		{asleep, ours, asleep, one, b.latency(true)},
		{asleep, "ringbuf ReadInto", asleep, one, rival((*rivals).asleep)},
		{awake, ours, awake, one, b.latency(false)},
		{awake, "ringbuf ReadInto, spinning", awake, one, rival((*rivals).awake)},
	}
}

// bpfShare is a share of the loop or the live object with one ring per CPU.
type bpfShare struct {
	*kshm.Share
	buf      *kshm.Buffer
	consumer *ring.Consumer // of the producer's processor
}

func (b *bpfBed) share(dev *kshm.Device) (*bpfShare, error) {
	var layout ring.Layout
	g, err := layout.Add(ring.ToUser, b.cpus[0]+1, capacity)
	if err != nil {
		return nil, err
	}
	s := &bpfShare{}
	if s.buf, err = dev.Alloc(layout.Size(), nil); err != nil {
		return nil, err
	}
	if s.Share, err = dev.Share(s.buf, &kshm.ShareOptions{Rings: layout.Groups()}); err != nil {
		s.buf.Close()
		return nil, err
	}
	if s.consumer, err = ring.NewConsumer(s.buf.Bytes(), g, b.cpus[0], s.Share); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *bpfShare) close() error { return errors.Join(s.Share.Close(), s.buf.Close()) }

// perBurst is how many records one run of the program makes at most.
const perBurst = 2048

// produceBPF makes records for the time of a trial, then one of no bytes.
func produceBPF(p *ebpf.Program, c trialCase) error {
	burst := loop.Burst{Records: perBurst, Size: uint32(c.size), Batch: uint32(c.batch), Patience: 1 << 16}
	for end := time.Now().Add(c.trial); time.Now().Before(end); {
		done, err := loop.Produce(p, burst)
		if err != nil {
			return err
		}
		burst.First += done
	}
	return endBPF(p)
}

func endBPF(p *ebpf.Program) error {
	for {
		done, err := loop.Produce(p, loop.Burst{Records: 1, Batch: 1})
		if err != nil || done == 1 {
			return err
		}
	}
}

// run passes records from BPF_PROG_RUN to a Go consumer.
func (b *bpfBed) run(copyOut bool) func(context.Context, trialCase) (result, error) {
	return func(_ context.Context, c trialCase) (result, error) {
		s, err := b.share(b.loop)
		if err != nil {
			return result{}, err
		}
		defer s.close()
		return b.together(
			func() error { return produceBPF(b.progs.Programs["loop_produce"], c) },
			func(r *result) error {
				if copyOut {
					consumeCopies(s.consumer, r)
				} else {
					consume(s.consumer, r)
				}
				return nil
			})
	}
}

// consumeCopies is consume by a program that takes each record out of the ring
// before it looks at it.
func consumeCopies(c *ring.Consumer, r *result) {
	var start time.Time
	var total uint64
	var own []byte
	for {
		rec, ok := c.Next()
		if !ok {
			continue
		}
		own = append(own[:0], rec...)
		c.Release()
		if len(own) == 0 {
			break
		}
		if r.records == 0 {
			start = time.Now()
		}
		r.records++
		total += sum(own)
	}
	r.took = time.Since(start)
	runtime.KeepAlive(total)
}

// storm enters the system call that the hooks look for, for the time of a
// trial. Its thread goes afterwards, and its name with it.
func storm(c trialCase) error {
	task := fmt.Sprintf("/proc/self/task/%d/comm", syscall.Gettid())
	if err := os.WriteFile(task, []byte(live.Name), 0); err != nil {
		return err
	}
	for end := time.Now().Add(c.trial); time.Now().Before(end); {
		for range look {
			syscall.RawSyscall(live.Syscall, 0, 0, 0)
		}
	}
	return nil
}

// hook passes records of system calls.
func (b *bpfBed) hook(_ context.Context, c trialCase) (result, error) {
	s, err := b.share(b.live[c.size])
	if err != nil {
		return result{}, err
	}
	defer s.close()
	over := make(chan struct{})
	return b.together(
		func() error { defer close(over); return storm(c) },
		func(r *result) error { return untilOver(over, s.consumer, r) })
}

// untilOver sums records until their producer has ended and no more come.
func untilOver(over <-chan struct{}, c *ring.Consumer, r *result) error {
	var start time.Time
	var total uint64
	for ended := false; ; {
		rec, ok := c.Next()
		if ok {
			if r.records == 0 {
				start = time.Now()
			}
			r.records++
			total += sum(rec)
			c.Release()
			continue
		}
		if ended {
			break
		}
		select {
		case <-over:
			ended = true
			r.took = time.Since(start)
		default:
		}
	}
	runtime.KeepAlive(total)
	return c.Err()
}
