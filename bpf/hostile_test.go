// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/loop"
	"kshm/ring"
)

// loopShare is a share of the loop object: rings to the kernel, and one for
// each CPU from it.
type loopShare struct {
	*kshm.Share
	buf     *kshm.Buffer
	to      ring.Group
	from    ring.Group
	progs   *ebpf.Collection
	produce *ebpf.Program
}

func shareLoop(t testing.TB, capacity int) *loopShare {
	t.Helper()
	return shareLoops(t, 1, capacity)
}

// shareLoops has several rings to the kernel.
func shareLoops(t testing.TB, inputs, capacity int) *loopShare {
	t.Helper()
	s := &loopShare{}
	dev := openLoop(t, &bpf.Options{Attach: func(c *ebpf.Collection) (_ []link.Link, err error) {
		s.progs = c
		s.produce, err = c.Programs["loop_produce"].Clone() // the share closes its own
		return nil, err
	}})
	s.share(t, dev, inputs, capacity)
	t.Cleanup(func() { s.produce.Close() })
	return s
}

func (s *loopShare) share(t testing.TB, dev *kshm.Device, inputs, capacity int) {
	t.Helper()
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	var layout ring.Layout
	if s.to, err = layout.Add(ring.ToKernel, inputs, capacity); err != nil {
		t.Fatal(err)
	}
	if s.from, err = layout.Add(ring.ToUser, cpus, capacity); err != nil {
		t.Fatal(err)
	}
	if s.buf, err = dev.Alloc(layout.Size(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.buf.Close() })
	s.Share, err = dev.Share(s.buf, &kshm.ShareOptions{Rings: layout.Groups()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Share.Close() })
}

// readers are the consumers of all rings from the kernel.
func (s *loopShare) readers(t testing.TB) []*ring.Consumer {
	t.Helper()
	all := make([]*ring.Consumer, s.from.Count)
	for i := range all {
		var err error
		if all[i], err = ring.NewConsumer(s.buf.Bytes(), s.from, i, s.Share); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// hostileWrite writes something, somewhere: half of the time to words that
// matter.
func (s *loopShare) hostileWrite(r *rand.Rand) {
	mem := s.buf.Bytes()
	what := uint64(r.IntN(3)) << r.IntN(64)
	if r.IntN(4) == 0 {
		what = r.Uint64()
	}
	at := 8 * r.IntN(len(mem)/8)
	if r.IntN(2) == 0 {
		base := s.to.Offset
		if r.IntN(2) == 0 {
			base = s.from.Offset + r.IntN(s.from.Count)*s.from.Stride()
		}
		at = base + []int{0, 128, 256, 384, 512, 8192, 8200}[r.IntN(7)]
	}
	word(mem, at).Store(what)
}

// scribble writes until the returned function is called.
func (s *loopShare) scribble(seed uint64) (stop func()) {
	var over atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for r := rand.New(rand.NewPCG(seed, 1)); !over.Load(); {
			s.hostileWrite(r)
		}
	})
	return func() { over.Store(true); all.Wait() }
}

// What a program may write into the shared memory, at its worst: anything,
// anywhere, before the kernel's programs use it and, with odd seeds, meanwhile.
// They return, the break is reported, and the next share works.
func TestHostileBytes(t *testing.T) {
	needBPF(t)
	reported := 0
	for seed := range uint64(60) {
		s := shareLoop(t, 4096)
		mem := s.buf.Bytes()
		r := rand.New(rand.NewPCG(seed, 0))
		stop := func() {}
		if seed%2 == 1 {
			stop = s.scribble(seed)
		}
		for s.Err() == nil && r.IntN(400) != 0 {
			s.hostileWrite(r)
			if err := s.Kick(); err != nil && s.Err() == nil {
				t.Fatal(err)
			}
			_, err := loop.Produce(s.produce, loop.Burst{Records: 20, Size: uint32(8 * r.IntN(300)), Batch: uint32(r.IntN(3))})
			if err != nil && !errors.Is(err, syscall.EBUSY) && s.Err() == nil { // busy: or it is ending
				t.Fatal(err)
			}
		}
		stop()
		if err := s.Share.Close(); err != nil {
			t.Fatal(err)
		}
		stats, err := s.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if errors.Is(s.Err(), kshm.ErrCorrupt) {
			reported++
			if stats.CorruptWhy == 0 || stats.CorruptOffset >= uint64(len(mem)) || stats.Reason != kshm.EndCorrupt {
				t.Errorf("seed %d: %+v", seed, stats)
			}
		}
		if err := s.buf.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 60 shares ended as corrupt", reported)
	if reported == 0 {
		t.Error("no corruption was reported")
	}
	s := shareLoop(t, 4096)
	echo(t, s, 100)
}

// echo sends n records through the kernel and back.
func echo(t *testing.T, s *loopShare, n int) {
	t.Helper()
	p, err := ring.NewProducer(s.buf.Bytes(), s.to, 0, s.Share)
	if err != nil {
		t.Fatal(err)
	}
	back := make([]*ring.Consumer, s.from.Count)
	for i := range back {
		if back[i], err = ring.NewConsumer(s.buf.Bytes(), s.from, i, s.Share); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[uint64]bool)
	for i := range uint64(n) {
		if err := p.Write(t.Context(), binary.NativeEndian.AppendUint64(nil, i)); err != nil {
			t.Fatal(err)
		}
		for _, c := range back {
			for rec, ok := c.Next(); ok; rec, ok = c.Next() {
				seen[binary.NativeEndian.Uint64(rec)] = true
				c.Release()
			}
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d records have come back", len(seen), n)
	}
}

// Commands with any arguments, from whoever holds the descriptor.
func TestHostileCommands(t *testing.T) {
	needBPF(t)
	var command *ebpf.Program
	spec, err := loop.Load()
	if err != nil {
		t.Fatal(err)
	}
	dev, err := bpf.Open(spec, &bpf.Options{Attach: func(c *ebpf.Collection) ([]link.Link, error) {
		var err error
		command, err = c.Programs["kshm_command"].Clone()
		return nil, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	s := &loopShare{}
	s.share(t, dev, 1, 4096)
	defer command.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		context := make([]byte, 48)
		for i := range context {
			if r.IntN(3) == 0 {
				context[i] = byte(r.Uint32())
			}
		}
		binary.NativeEndian.PutUint32(context, uint32(r.IntN(12)))
		if _, err := command.Run(&ebpf.RunOptions{Context: context}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Share.Close(); err != nil {
		t.Error(err)
	}
}

// What programs trust, user space cannot write, root included.
func TestMapsAreReadOnly(t *testing.T) {
	needBPF(t)
	s := shareLive(t, 64, 4096, 1, bpf.Options{})
	for _, name := range []string{"kshm_state", "kshm_slots", "kshm_inputs", "kshm_timer"} {
		m := s.progs.Maps[name]
		value := make([]byte, m.ValueSize())
		if err := m.Update(uint32(0), value, ebpf.UpdateAny); !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: writing it: %v", name, err)
		}
		if mem, err := unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
			t.Errorf("%s can be mapped to write", name)
			unix.Munmap(mem)
		}
	}
}
