// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/internal/abi"
	"kshm/ring"
)

// The codes of driver/samples/loop/loop.h.
const (
	loopProduce = iota + 1
	loopCounts
)

const (
	loopTask = iota
	loopSoftirq
	loopHardirq
	loopNMI
)

const (
	loopWait   = 1
	loopNested = 1 << 31
)

// loopCommand is struct loop_produce.
type loopCommand struct {
	Cookie, Records                           uint64
	Ring, Size, Batch, Context, Source, Flags uint32
}

// loopResult is struct loop_result.
type loopResult struct{ Produced, Dropped, Nested, NestedDropped, NS uint64 }

// ringShare shares memory laid out in rings with the loop driver.
func ringShare(t testing.TB, dev *kshm.Device, l *ring.Layout, cookie uint64) (*kshm.Share, []byte) {
	t.Helper()
	s, buf := share(t, dev, l.Size(), &kshm.ShareOptions{Cookie: cookie, Rings: l.Groups()})
	return s, buf.Bytes()
}

func add(t testing.TB, l *ring.Layout, d ring.Direction, count, capacity int) ring.Group {
	t.Helper()
	g, err := l.Add(d, count, capacity)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func producer(t testing.TB, mem []byte, g ring.Group, index int, bell ring.Doorbell) *ring.Producer {
	t.Helper()
	p, err := ring.NewProducer(mem, g, index, bell)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func consumer(t testing.TB, mem []byte, g ring.Group, index int, bell ring.Doorbell) *ring.Consumer {
	t.Helper()
	c, err := ring.NewConsumer(mem, g, index, bell)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// onCPU runs f on a thread that stays on one CPU and dies with it.
func onCPU(cpu int, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

// produce has the driver produce on a CPU.
func produce(dev *kshm.Device, cpu int, c loopCommand) (r loopResult, err error) {
	in, _ := binary.Append(nil, binary.NativeEndian, c)
	out := make([]byte, binary.Size(r))
	err = onCPU(cpu, func() error {
		_, err := dev.Control(context.Background(), loopProduce, in, out)
		return err
	})
	if err == nil {
		_, err = binary.Decode(out, binary.NativeEndian, &r)
	}
	return r, err
}

func TestRingsAreOffered(t *testing.T) {
	if open(t, "loop").Info().Features&kshm.FeatureRings == 0 {
		t.Error("loop does not say that it takes rings")
	}
	if open(t, "probe").Info().Features&kshm.FeatureRings != 0 {
		t.Error("probe says that it takes rings")
	}
}

func TestShareRefusesBadRings(t *testing.T) {
	fd := rawOpen(t, "loop")
	const length = 64 << 12
	mem := mmap(t, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	copy(mem[3*4096:], "untouched")
	good := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: length, Access: abi.AccessRead | abi.AccessWrite}
	good.Rings[2] = abi.RingGroup{Offset: 3 << 12, Capacity: 8192, Count: 3}
	second := abi.RingGroup{Offset: 15 << 12, Capacity: 4096, Count: 1, Flags: abi.RingToUser}
	cases := []struct {
		name   string
		change func(a *abi.ShareArgs)
		want   error
	}{
		{"offset inside a page", func(a *abi.ShareArgs) { a.Rings[2].Offset += 8 }, unix.EINVAL},
		{"offset past the end", func(a *abi.ShareArgs) { a.Rings[2].Offset = length + 4096 }, unix.EINVAL},
		{"offset at the end of numbers", func(a *abi.ShareArgs) { a.Rings[2].Offset = 1<<64 - 4096 }, unix.EINVAL},
		{"last ring past the end", func(a *abi.ShareArgs) { a.Length = 15<<12 - 1 }, unix.EINVAL},
		{"no capacity", func(a *abi.ShareArgs) { a.Rings[2].Capacity = 0 }, unix.EINVAL},
		{"odd capacity", func(a *abi.ShareArgs) { a.Rings[2].Capacity = 12288 }, unix.EINVAL},
		{"small capacity", func(a *abi.ShareArgs) { a.Rings[2].Capacity = 2048 }, unix.EINVAL},
		{"large capacity", func(a *abi.ShareArgs) { a.Rings[2].Capacity = 1 << 31 }, unix.EINVAL},
		{"no rings", func(a *abi.ShareArgs) { a.Rings[2].Count = 0 }, unix.EINVAL},
		{"too many rings in a group", func(a *abi.ShareArgs) { a.Rings[2].Count = 4097 }, unix.EINVAL},
		{"count that overflows", func(a *abi.ShareArgs) { a.Rings[2].Count = 1<<32 - 1 }, unix.EINVAL},
		{"unknown flag", func(a *abi.ShareArgs) { a.Rings[2].Flags = 2 }, unix.EINVAL},
		{"reserved", func(a *abi.ShareArgs) { a.Rings[2].Reserved = 1 }, unix.EINVAL},
		{"reserved of an unused entry", func(a *abi.ShareArgs) { a.Rings[0].Reserved = 1 }, unix.EINVAL},
		{"overlap by a page", func(a *abi.ShareArgs) { a.Rings[7] = second; a.Rings[7].Offset -= 4096 }, unix.EINVAL},
		{"overlap from below", func(a *abi.ShareArgs) { a.Rings[7] = second; a.Rings[7].Offset = 4096 }, unix.EINVAL},
		{"the same twice", func(a *abi.ShareArgs) { a.Rings[3] = a.Rings[2] }, unix.EINVAL},
		{"read-only share", func(a *abi.ShareArgs) { a.Access = abi.AccessRead }, unix.EINVAL},
	}
	before := pinsHeld(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := good
			c.change(&a)
			if s, err := rawShare(fd, a); err != c.want {
				unix.Close(s)
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("more rings than the driver takes", func(t *testing.T) {
		big := mmap(t, 129*3*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		a := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(big), Length: uint64(len(big)), Access: abi.AccessRead | abi.AccessWrite}
		a.Rings[0] = abi.RingGroup{Capacity: 4096, Count: 129}
		if s, err := rawShare(fd, a); err != unix.ERANGE {
			unix.Close(s)
			t.Errorf("got %v, want %v", err, unix.ERANGE)
		}
	})
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("refused shares left %d pages pinned", held)
	}
	if string(mem[3*4096:][:9]) != "untouched" {
		t.Error("a refused share wrote to the memory")
	}
	for i := range mem {
		mem[i] = 0xa5
	}
	good.Rings[7] = second
	s, err := rawShare(fd, good)
	if err != nil {
		t.Fatalf("a good share afterwards: %v", err)
	}
	defer unix.Close(s)
	for i := range 3 { // positions are zero, whatever was there
		at := 3<<12 + i*(8192+8192)
		if p := binary.NativeEndian.Uint64(mem[at+128:]); p != 0 {
			t.Errorf("ring %d starts at position %#x", i, p)
		}
		if n := binary.NativeEndian.Uint32(mem[at+16:]); n != uint32(i) {
			t.Errorf("the header of ring %d says %d", i, n)
		}
	}
	if mem[0] != 0xa5 || mem[3<<12-1] != 0xa5 || mem[3<<12+8192] != 0xa5 || mem[15<<12+3*4096] != 0xa5 {
		t.Error("the kit wrote to what is no control page")
	}
}

// Records of all sizes go through rings of different capacities and come back
// whole and in order, many times around, with both sides falling asleep for
// want of records and for want of space.
func TestRingEcho(t *testing.T) {
	dev := open(t, "loop")
	var l ring.Layout
	up, down := add(t, &l, ring.ToKernel, 2, 4096), add(t, &l, ring.ToUser, 2, 8192)
	s, mem := ringShare(t, dev, &l, 20)
	var wg sync.WaitGroup
	for i := range 2 {
		p, c := producer(t, mem, up, i, s), consumer(t, mem, down, i, s)
		const records = 3000
		record := func(r *rand.Rand, n int) []byte {
			rec := bytes.Repeat([]byte{byte(n)}, 8+r.IntN(p.MaxRecord()-7))
			binary.NativeEndian.PutUint64(rec, uint64(n))
			return rec
		}
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for n := range records {
				if err := p.Write(t.Context(), record(r, n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			n := 0
			for rec := range c.All(t.Context()) {
				if want := record(r, n); !bytes.Equal(rec, want) {
					t.Errorf("record %d has %d bytes, want %d, or others", n, len(rec), len(want))
				}
				if n++; n == records {
					return
				}
			}
			t.Errorf("ring %d ended after %d records: %v", i, n, c.Err())
		})
	}
	wg.Wait()
	if st, err := s.Stats(); err != nil || st.Reason != kshm.Live {
		t.Errorf("%+v, %v", st, err)
	}
}

// One record at a time, each side asleep in between: a single lost wake-up, of
// the program or of the driver, hangs it.
func TestRingSleepWake(t *testing.T) {
	var l ring.Layout
	up, down := add(t, &l, ring.ToKernel, 1, 4096), add(t, &l, ring.ToUser, 1, 4096)
	s, mem := ringShare(t, open(t, "loop"), &l, 21)
	p, c := producer(t, mem, up, 0, s), consumer(t, mem, down, 0, s)
	var rec [8]byte
	for n := range uint64(20000) {
		binary.NativeEndian.PutUint64(rec[:], n)
		if err := p.Write(t.Context(), rec[:]); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Next(); !ok || !bytes.Equal(got, rec[:]) {
			t.Fatalf("round %d: %x, %v", n, got, ok)
		}
		c.Release()
	}
	st, err := s.Stats()
	t.Logf("%+v, %v; program: %+v", st, err, c.Counters())
	if st.Kicks < 1000 {
		t.Errorf("only %d of 20000 rounds woke the driver: nobody slept", st.Kicks)
	}
}

// tally checks that what comes out of a ring is in order per source.
type tally struct{ got map[uint64]*count }

type count struct{ received, next, lastNS uint64 }

func (y *tally) take(t *testing.T, rec []byte, size int) {
	ns, source, sequence := binary.NativeEndian.Uint64(rec), binary.NativeEndian.Uint64(rec[8:]), binary.NativeEndian.Uint64(rec[16:])
	k := y.got[source]
	if k == nil {
		k = &count{}
		y.got[source] = k
	}
	if sequence < k.next {
		t.Errorf("source %#x: %d after %d", source, sequence, k.next)
	}
	if len(rec) != size || ns < k.lastNS {
		t.Errorf("source %#x: %d bytes, %d ns after %d", source, len(rec), ns, k.lastNS)
	}
	for at := 24; at < len(rec); at += 8 {
		if w := binary.NativeEndian.Uint64(rec[at:]); w != sequence {
			t.Fatalf("source %#x: record %d holds %d at %d", source, sequence, w, at)
		}
	}
	k.received, k.next, k.lastNS = k.received+1, sequence+1, ns
}

// collect reads a ring until ctx is done and the ring empty.
func collect(t *testing.T, ctx context.Context, c *ring.Consumer, size int) *tally {
	y := &tally{got: make(map[uint64]*count)}
	for {
		over := ctx.Err() != nil
		for rec, ok := c.Next(); ok; rec, ok = c.Next() {
			y.take(t, rec, size)
			c.Release()
		}
		if c.Err() != nil || over {
			return y
		}
		c.Wait(ctx)
	}
}

// account holds a source's result against what has been received of it.
func (y *tally) account(t *testing.T, c loopCommand, r loopResult) {
	t.Helper()
	received := func(source uint64) (n uint64) {
		if k := y.got[source]; k != nil {
			n = k.received
		}
		delete(y.got, source)
		return n
	}
	own := received(uint64(c.Source))
	if own != r.Produced || own+r.Dropped != c.Records {
		t.Errorf("source %d: %d received + %d dropped of %d; the driver says %d produced", c.Source, own, r.Dropped, c.Records, r.Produced)
	}
	if nested := received(uint64(c.Source | loopNested)); nested+r.NestedDropped != r.Nested {
		t.Errorf("NMIs of source %d: %d received + %d dropped of %d", c.Source, nested, r.NestedDropped, r.Nested)
	}
}

// Eight sources at once, each with a ring of its own, small enough to overflow,
// on eight CPUs if there are as many.
func TestEightProducers(t *testing.T) {
	dev := open(t, "loop")
	const size, rings = 64, 8
	var l ring.Layout
	g := add(t, &l, ring.ToUser, rings, 4096)
	s, mem := ringShare(t, dev, &l, 22)
	ctx, cancel := context.WithCancel(t.Context())
	var sources, readers sync.WaitGroup
	tallies := make([]*tally, rings)
	results := make([]loopResult, rings)
	commands := make([]loopCommand, rings)
	for i := range rings {
		c := consumer(t, mem, g, i, s)
		readers.Go(func() { tallies[i] = collect(t, ctx, c, size) })
		commands[i] = loopCommand{Cookie: 22, Records: 4000, Ring: uint32(i), Size: size, Batch: uint32(1 + i*5),
			Context: []uint32{loopTask, loopTask, loopSoftirq, loopHardirq}[i%4], Source: uint32(100 + i)}
		if i%4 == 0 {
			commands[i].Flags = loopWait
		}
		sources.Go(func() {
			var err error
			if results[i], err = produce(dev, i*runtime.NumCPU()/rings%runtime.NumCPU(), commands[i]); err != nil {
				t.Error(err)
			}
		})
	}
	sources.Wait()
	cancel()
	readers.Wait()
	var dropped uint64
	for i, y := range tallies {
		y.account(t, commands[i], results[i])
		dropped += results[i].Dropped
		if commands[i].Flags == loopWait && results[i].Dropped != 0 {
			t.Errorf("source %d waits for space, and dropped %d", i, results[i].Dropped)
		}
	}
	t.Logf("%d of %d records dropped", dropped, rings*4000)
}

// Tasks, softirqs, hardirqs and NMIs of one CPU, all into one ring at once.
func TestOneCPUIsManyContexts(t *testing.T) {
	dev := open(t, "loop")
	notInUserMode(t, "breakpoints, which stand in for NMIs")
	const size = 96
	var l ring.Layout
	g := add(t, &l, ring.ToUser, 1, 16384)
	s, mem := ringShare(t, dev, &l, 23)
	c := consumer(t, mem, g, 0, s)
	ctx, cancel := context.WithCancel(t.Context())
	var sources, readers sync.WaitGroup
	var y *tally
	readers.Go(func() { y = collect(t, ctx, c, size) })
	defer readers.Wait() // before the memory goes
	defer cancel()
	var commands []loopCommand
	for i, context := range []uint32{loopTask, loopTask, loopSoftirq, loopHardirq, loopHardirq, loopNMI} {
		commands = append(commands, loopCommand{Cookie: 23, Records: 5000, Size: size, Batch: 4, Context: context, Source: uint32(i)})
	}
	commands[0].Flags = loopWait // so that it is there while the others are
	// The NMIs of the last have space for sure: they come before all others.
	commands = append(commands, loopCommand{Cookie: 23, Records: 40, Size: size, Batch: 4, Context: loopNMI, Source: 6})
	results := make([]loopResult, len(commands))
	var err error
	if results[6], err = produce(dev, 0, commands[6]); err != nil {
		t.Fatal(err)
	}
	for i, c := range commands[:6] {
		sources.Go(func() {
			var err error
			if results[i], err = produce(dev, 0, c); err != nil {
				t.Errorf("source %d: %v", i, err)
			}
		})
	}
	sources.Wait()
	cancel()
	readers.Wait()
	for i, c := range commands {
		y.account(t, c, results[i])
	}
	t.Logf("%+v", results)
	// A breakpoint in each record that had space: none of them may get in.
	for _, n := range results[5:] {
		if n.NestedDropped != n.Nested || n.Nested != n.Produced {
			t.Errorf("NMIs: %+v", n)
		}
	}
	if results[6].Nested == 0 {
		t.Error("no NMI came")
	}
	out, err := loopCount(dev, 23)
	var drops uint64
	for _, r := range results {
		drops += r.Dropped + r.NestedDropped
	}
	if err != nil || out[0] != drops {
		t.Errorf("the ring counts %d drops, its sources %d (%v)", out[0], drops, err)
	}
}

// loopCount returns struct loop_counts.
func loopCount(dev *kshm.Device, cookie uint64) (c [3]uint64, err error) {
	var out [24]byte
	if _, err = dev.Control(context.Background(), loopCounts, binary.NativeEndian.AppendUint64(nil, cookie), out[:]); err == nil {
		_, err = binary.Decode(out[:], binary.NativeEndian, &c)
	}
	return c, err
}

func TestProduceRefusals(t *testing.T) {
	dev := open(t, "loop")
	var l ring.Layout
	add(t, &l, ring.ToKernel, 1, 4096)
	add(t, &l, ring.ToUser, 2, 4096)
	ringShare(t, dev, &l, 24)
	good := loopCommand{Cookie: 24, Records: 1, Ring: 1, Size: 24, Batch: 1}
	if r, err := produce(dev, 0, good); err != nil || r.Produced != 1 {
		t.Fatal(r, err)
	}
	for name, c := range map[string]struct {
		change func(*loopCommand)
		want   error
	}{
		"share":         {func(c *loopCommand) { c.Cookie++ }, unix.ENOENT},
		"echo's ring":   {func(c *loopCommand) { c.Ring = 0 }, unix.ENOENT},
		"no such ring":  {func(c *loopCommand) { c.Ring = 2 }, unix.ENOENT},
		"small record":  {func(c *loopCommand) { c.Size = 16 }, unix.ERANGE},
		"odd record":    {func(c *loopCommand) { c.Size = 28 }, unix.ERANGE},
		"large record":  {func(c *loopCommand) { c.Size = 2048 }, unix.ERANGE},
		"no batch":      {func(c *loopCommand) { c.Batch = 0 }, unix.EINVAL},
		"context":       {func(c *loopCommand) { c.Context = 4 }, unix.EINVAL},
		"flags":         {func(c *loopCommand) { c.Flags = 2 }, unix.EINVAL},
		"long softirq":  {func(c *loopCommand) { c.Batch, c.Context = 4096, loopSoftirq }, unix.ERANGE},
		"long hardirq":  {func(c *loopCommand) { c.Batch, c.Context = 4096, loopHardirq }, unix.ERANGE},
		"waiting timer": {func(c *loopCommand) { c.Flags, c.Context = loopWait, loopHardirq }, unix.EINVAL},
	} {
		bad := good
		c.change(&bad)
		if _, err := produce(dev, 0, bad); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// The other CPU may not have the ring any more.
	if _, err := produce(dev, 1, good); !errors.Is(err, unix.EXDEV) {
		t.Errorf("two CPUs in one ring: %v", err)
	}
}

// The end of a share finds sources at work in every context, and stops them.
func TestCloseWhileProducing(t *testing.T) {
	dev := open(t, "loop")
	for name, context := range map[string]uint32{"waiting": loopTask, "softirq": loopSoftirq, "hardirq": loopHardirq, "nmi": loopNMI} {
		t.Run(name, func(t *testing.T) {
			before := pinsHeld(t)
			for range 10 {
				var l ring.Layout
				g := add(t, &l, ring.ToUser, 1, 4096)
				s, mem := ringShare(t, dev, &l, 30)
				endless := loopCommand{Cookie: 30, Records: 1 << 40, Size: 64, Batch: 4, Context: context}
				if name == "waiting" {
					endless.Flags = loopWait
				}
				result := make(chan error)
				go func() {
					r, err := produce(dev, 0, endless)
					if err == nil && (r.Produced == 0 || r.Produced+r.Dropped >= endless.Records) {
						err = fmt.Errorf("it says %+v", r)
					}
					result <- err
				}()
				if err := consumer(t, mem, g, 0, s).Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
			if held := pinsHeld(t) - before; held != 0 {
				t.Errorf("%d pages still pinned", held)
			}
		})
	}
}
