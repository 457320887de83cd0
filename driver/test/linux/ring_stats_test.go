// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"fmt"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/internal/abi"
	"kshm/ring"
)

// STATS adds up what the kernel's ends of the rings have counted, and nothing
// that the program writes to their statistics pages gets into it.
func TestRingStats(t *testing.T) {
	dev := open(t, "loop")
	var l ring.Layout
	up, down := add(t, &l, ring.ToKernel, 2, 4096), add(t, &l, ring.ToUser, 3, 4096)
	s, mem := ringShare(t, dev, &l, 31)
	var written, read ring.Counters
	for i := range 2 {
		e := pair{producer(t, mem, up, i, s), consumer(t, mem, down, i, s)}
		for n := range 500 {
			if n%50 == 0 {
				scrawl(t, mem, up)
				scrawl(t, mem, down)
			}
			if err := e.echo(t.Context(), 8+n); err != nil {
				t.Fatal(err)
			}
		}
		written = plus(written, e.p.Counters())
		read = plus(read, e.c.Counters())
	}
	// Nobody reads this one: some fit, the others are dropped.
	r, err := produce(dev, 0, loopCommand{Cookie: 31, Records: 200, Ring: 2, Size: 64, Batch: 1, Source: 1})
	if err != nil || r.Dropped == 0 || r.Produced == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	scrawl(t, mem, down)
	check := func(when string) {
		st, err := s.Stats()
		if err != nil {
			t.Fatal(err)
		}
		up, down := st.ToKernel, st.ToUser
		if up.Records != written.Records || up.Bytes != written.Bytes || up.Drops != 0 {
			t.Errorf("%s: ToKernel %+v; the program wrote %+v", when, up, written)
		}
		if down.Records != read.Records+r.Produced || down.Bytes != read.Bytes+64*r.Produced || down.Drops != r.Dropped {
			t.Errorf("%s: ToUser %+v; the program read %+v, and the driver says %+v", when, down, read, r)
		}
		if up.HighWater < 8 || up.HighWater > 4096 || down.HighWater < 3000 || down.HighWater > 4096 {
			t.Errorf("%s: at most %d and %d bytes in rings of 4096", when, up.HighWater, down.HighWater)
		}
		// One echo at a time: the driver sleeps in between, on both rings, and a kick
		// is for one of them.
		if up.Sleeps < 100 || up.Spurious >= up.Sleeps || up.Stall <= 0 {
			t.Errorf("%s: %d sleeps, %d spurious, longest %v", when, up.Sleeps, up.Spurious, up.Stall)
		}
		if n := down.Wakes + down.Suppressed; n == 0 || n > down.Records {
			t.Errorf("%s: %+v", when, down)
		}
		t.Logf("%s: ToKernel %+v, ToUser %+v", when, up, down)
	}
	check("live")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	check("closed")
}

// scrawl writes nonsense to the statistics of a group's rings.
func scrawl(t *testing.T, mem []byte, g ring.Group) {
	t.Helper()
	for i := range g.Count {
		for at := 4096; at < 8192; at += 8 {
			wordAt(t, mem, g.Offset+i*g.Stride()+at).Store(1<<63 + 5)
		}
	}
}

func plus(a, b ring.Counters) ring.Counters {
	return ring.Counters{Records: a.Records + b.Records, Bytes: a.Bytes + b.Bytes}
}

// A program that knows STATS of version 1.0 gets that, and not a byte more; one
// that knows a later one than the kernel gets what the kernel knows.
func TestStatsOfOtherVersions(t *testing.T) {
	s := rawRings(t, rawOpen(t, "loop"))
	var stats struct {
		abi.Stats
		Later [4]uint64
	}
	for _, c := range []struct{ known, answer uint32 }{
		{96, 96}, {104, 104}, {abi.SizeofStats, abi.SizeofStats}, {abi.SizeofStats + 32, abi.SizeofStats},
	} {
		t.Run(fmt.Sprint(c.known), func(t *testing.T) {
			stats.Stats, stats.Later = abi.Stats{Size: c.known}, [4]uint64{}
			bytes := unsafe.Slice((*byte)(unsafe.Pointer(&stats)), unsafe.Sizeof(stats))
			for i := c.known; int(i) < len(bytes); i++ {
				bytes[i] = 0xa5
			}
			if _, err := rawIoctl(s, abi.IoctlStats, unsafe.Pointer(&stats)); err != nil {
				t.Fatal(err)
			}
			if stats.Size != c.answer || stats.Length != 3<<12 {
				t.Errorf("size %d, length %d; want %d, %d", stats.Size, stats.Length, c.answer, 3<<12)
			}
			for i := c.known; int(i) < len(bytes); i++ {
				if bytes[i] != 0xa5 {
					t.Fatalf("byte %d behind a command of %d bytes was written", i, c.known)
				}
			}
		})
	}
	short := abi.Stats{Size: 88}
	if _, err := rawIoctl(s, abi.IoctlStats, unsafe.Pointer(&short)); err == nil {
		t.Error("a command of 88 bytes was answered")
	}
}

// rawRings is a share of one ring, without the Go package in between.
func rawRings(t *testing.T, fd int) int {
	t.Helper()
	mem := mmap(t, 3<<12, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	a := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 3 << 12, Access: abi.AccessRead | abi.AccessWrite}
	a.Rings[0] = abi.RingGroup{Capacity: 4096, Count: 1}
	s, err := rawShare(fd, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s) })
	return s
}

// Every word of the control pages that is no position, one after the other, at
// its worst, while both sides work: none of them means anything to the driver.
func TestEveryControlWord(t *testing.T) {
	s, mem, e := pairs(t, open(t, "loop"), 32)
	for _, base := range []int{toKernel, toUser} {
		for at := 0; at < 8192; at += 8 {
			if at == prodPos || at == consPos {
				continue // see TestHostileWords
			}
			for _, value := range []uint64{1<<64 - 1, 0} {
				wordAt(t, mem, base+at).Store(value)
				if err := e[0].p.Write(t.Context(), make([]byte, 8)); err != nil {
					t.Fatal(err)
				}
				s.Kick() // the word may have been the driver's call for one
				if err := e[0].c.Wait(t.Context()); err != nil {
					t.Fatalf("word %d of the ring at %d: %v", at, base, err)
				}
				e[0].c.Next()
				e[0].c.Release()
			}
		}
	}
	if st, err := s.Stats(); err != nil || st.Reason != kshm.Live || st.CorruptWhy != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}
