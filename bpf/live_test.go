// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/live"
	"kshm/ring"
)

var liveRecords = flag.Int("live", 300_000, "system calls that TestLiveHooks makes records of")

// sources are numbers of system calls, timer interrupts and samples.
type sources [3]uint64

func (n *sources) add(more sources) {
	for i := range n {
		n[i] += more[i]
	}
}

func (n sources) sum() uint64 { return n[0] + n[1] + n[2] }

// count attaches the independent counters, to samples of the given events, too.
func count(t *testing.T, samples ...*os.File) (events func() sources, detach func()) {
	t.Helper()
	spec, err := live.LoadCount()
	if err != nil {
		t.Fatal(err)
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var links []link.Link
	for name, hook := range map[string]string{"count_syscall": "sys_enter", "count_timer": "local_timer_entry"} {
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: hook, Program: c.Programs[name]})
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	more, err := attachTo(c.Programs["count_sample"], samples)
	if err != nil {
		t.Fatal(err)
	}
	links = append(links, more...)
	events = func() (n sources) {
		var cpus [][8]uint64
		if err := c.Maps["counts"].Lookup(uint32(0), &cpus); err != nil {
			t.Fatal(err)
		}
		for _, cpu := range cpus {
			n.add(sources(cpu[:3]))
		}
		return n
	}
	return events, func() {
		for _, l := range links {
			l.Close()
		}
	}
}

// tally is what the reader of one ring has seen.
type tally struct {
	bySource sources
	byCPU    map[uint32]uint64
	next     uint64 // number that the next record has at least
	ns       uint64 // time of the last one
	mark     uint64 // and what the next one has at least, as was promised
}

// add checks a record: in one piece, and in order.
func (n *tally) add(rec []byte) error {
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(rec[8*i:]) }
	ns, sequence := word(0), word(1)
	if word(3) != ^sequence {
		return fmt.Errorf("record %d: check is %#x", sequence, word(3))
	}
	for i := 4; i < len(rec)/8; i++ {
		if word(i) != sequence {
			return fmt.Errorf("record %d: word %d is %d", sequence, i, word(i))
		}
	}
	if sequence < n.next || ns < n.ns {
		return fmt.Errorf("record %d of %d ns after %d of %d ns", sequence, ns, n.next, n.ns)
	}
	if ns < n.mark {
		return fmt.Errorf("record %d is of %d ns, and %d were promised", sequence, ns, n.mark)
	}
	n.next, n.ns = sequence+1, ns
	n.bySource[binary.NativeEndian.Uint32(rec[20:])]++
	n.byCPU[binary.NativeEndian.Uint32(rec[16:])]++
	return nil
}

// liveShare is a share of the live object, with two nesting levels.
type liveShare struct {
	*kshm.Share
	device *kshm.Device
	buf    *kshm.Buffer
	groups []ring.Group
	progs  *ebpf.Collection
}

func shareLive(t testing.TB, size, capacity, levels int, o bpf.Options) *liveShare {
	t.Helper()
	spec, err := live.Load(size)
	if err != nil {
		t.Fatal(err)
	}
	s := &liveShare{}
	more := o.Attach
	o.Attach = func(c *ebpf.Collection) (links []link.Link, err error) {
		s.progs = c
		if more != nil {
			if links, err = more(c); err != nil {
				return nil, err
			}
		}
		hooks, err := bpf.Attach(spec, c)
		return append(links, hooks...), err
	}
	if s.device, err = bpf.Open(spec, &o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.device.Close() })
	var layout ring.Layout
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	for range levels {
		g, err := layout.Add(ring.ToUser, cpus, capacity)
		if err != nil {
			t.Fatal(err)
		}
		s.groups = append(s.groups, g)
	}
	if s.buf, err = s.device.Alloc(layout.Size(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.buf.Close() })
	if s.Share, err = s.device.Share(s.buf, &kshm.ShareOptions{Rings: layout.Groups()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Share.Close() })
	return s
}

// misses are the runs that the kernel left out because the program was running
// already on that CPU.
func (s *liveShare) misses(t testing.TB) (n uint64) {
	t.Helper()
	for _, name := range []string{"live_on_syscall", "live_on_timer", "live_on_sample"} {
		stats, err := s.progs.Programs[name].Stats()
		if err != nil {
			t.Fatal(err)
		}
		n += stats.RecursionMisses
	}
	return n
}

// dropped is what the statistics pages say; the share's end has written them.
func (s *liveShare) dropped(t testing.TB) (n uint64) {
	t.Helper()
	for _, g := range s.groups {
		for i := range g.Count {
			producer, _, err := ring.Show(s.buf.Bytes(), g, i)
			if err != nil {
				t.Fatal(err)
			}
			n += producer.Drops
		}
	}
	return n
}

// read drains one ring until ctx is done and it is empty.
func (s *liveShare) read(ctx context.Context, g ring.Group, index int) (*tally, error) {
	c, err := ring.NewConsumer(s.buf.Bytes(), g, index, s.Share)
	if err != nil {
		return nil, err
	}
	n := &tally{byCPU: map[uint32]uint64{}}
	watermark := word(s.buf.Bytes(), g.Offset+index*g.Stride()+136)
	for {
		mark := watermark.Load()
		rec, ok := c.Next()
		if ok {
			if err := n.add(rec); err != nil {
				return n, err
			}
			c.Release()
			continue
		}
		n.mark = mark
		err := c.Wait(ctx)
		switch {
		case err == nil:
		case errors.Is(err, kshm.ErrClosed) || errors.Is(err, context.Canceled):
			return n, c.Err()
		default:
			return n, err
		}
	}
}

// Records of system calls and timer interrupts on all CPUs: each one that the
// counter saw is received, or dropped and counted.
func TestLiveHooks(t *testing.T) {
	needBPF(t)
	s := shareLive(t, 64, 1<<20, 2, bpf.Options{})
	events, detach := count(t)
	defer detach()
	produced := s.account(t, events, *liveRecords)
	t.Logf("testfull: operations=%d", produced.sum())
}

// account makes calls on all CPUs and holds what has been received to what the
// counters say has been produced.
func (s *liveShare) account(t *testing.T, events func() sources, calls int) (produced sources) {
	t.Helper()
	tallies := s.readAll(t)
	begun := time.Now()
	stormAll(t, calls)
	took := time.Since(begun)
	produced, misses := events(), s.misses(t)
	if err := s.Share.Close(); err != nil {
		t.Fatal(err)
	}
	stats, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	dropped := stats.ToUser.Drops
	if shown := s.dropped(t); shown != dropped {
		t.Errorf("the statistics pages say %d dropped, the kernel %d", shown, dropped)
	}
	var received sources
	cpus := map[uint32]uint64{}
	for _, n := range tallies() {
		received.add(n.bySource)
		for cpu, records := range n.byCPU {
			cpus[cpu] += records
		}
	}
	t.Logf("produced %d in %v, received %d, dropped %d, missed %d", produced, took, received, dropped, misses)
	if produced[0] < uint64(calls/runtime.NumCPU()*runtime.NumCPU()) {
		t.Errorf("the counter has seen %d system calls", produced[0])
	}
	if got, want := received.sum()+dropped+misses, produced.sum(); got != want {
		t.Errorf("received + dropped + missed = %d, produced %d", got, want)
	}
	if len(cpus) != runtime.NumCPU() {
		t.Errorf("records came from CPUs %v", cpus)
	}
	return produced
}

// readAll starts a reader for each ring; what it returns waits for them to end.
func (s *liveShare) readAll(t *testing.T) (tallies func() []*tally) {
	var readers sync.WaitGroup
	var all []*tally
	var mu sync.Mutex
	for _, g := range s.groups {
		for i := range g.Count {
			readers.Go(func() {
				n, err := s.read(t.Context(), g, i)
				if err != nil {
					t.Errorf("ring %d at %d: %v", i, g.Offset, err)
				}
				mu.Lock()
				all = append(all, n)
				mu.Unlock()
			})
		}
	}
	return func() []*tally {
		readers.Wait()
		return all
	}
}

// stormAll has another process make that many system calls, on all CPUs.
func stormAll(t *testing.T, calls int) {
	t.Helper()
	cmd := child(t, "storm", fmt.Sprint(calls/runtime.NumCPU()))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
