// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/windows"

	"kshm"
	"kshm/ring"
)

// The codes of driver/samples/loop/loop.h, its contexts and its flag.
var (
	loopProduce = kshm.CTLCode(kshm.FileDeviceUnknown, 0x901, kshm.MethodBuffered, kshm.FileReadAccess|kshm.FileWriteAccess)
	loopCounts  = kshm.CTLCode(kshm.FileDeviceUnknown, 0x902, kshm.MethodBuffered, kshm.FileReadAccess|kshm.FileWriteAccess)
)

const (
	loopTask = iota
	loopDPC
)

const (
	loopWait    = 1
	loopSeconds = 20
)

// loopCommand is struct loop_produce.
type loopCommand struct {
	Cookie, Records                           uint64
	Ring, Size, Batch, Context, Source, Flags uint32
}

// loopResult is struct loop_result.
type loopResult struct{ Produced, Dropped, Nested, NestedDropped, NS uint64 }

func produce(t testing.TB, dev *kshm.Device, c loopCommand) (r loopResult, err error) {
	in, _ := binary.Append(nil, binary.LittleEndian, c)
	out := make([]byte, binary.Size(r))
	n, err := dev.Control(t.Context(), loopProduce, in, out)
	if err == nil && n != len(out) {
		err = fmt.Errorf("an answer of %d bytes", n)
	}
	if err == nil {
		_, err = binary.Decode(out, binary.LittleEndian, &r)
	}
	return r, err
}

// checked counts the records that are whole, in order, and later than those before.
func checked(c *ring.Consumer, size int, next, latest *uint64) (n uint64, err error) {
	for {
		rec, ok := c.Next()
		if !ok {
			return n, c.Err()
		}
		ns, sequence := binary.LittleEndian.Uint64(rec), binary.LittleEndian.Uint64(rec[16:])
		if len(rec) != size || ns < *latest || sequence < *next || binary.LittleEndian.Uint64(rec[8:]) != 7 {
			return n, fmt.Errorf("%d bytes, record %d after %d, %d ns after %d", len(rec), sequence, *next, ns, *latest)
		}
		for at := 24; at < size; at += 8 {
			if word := binary.LittleEndian.Uint64(rec[at:]); word != sequence {
				return n, fmt.Errorf("record %d holds %d at %d", sequence, word, at)
			}
		}
		*next, *latest = sequence+1, ns
		n++
		c.Release()
	}
}

// The driver produces records of its own as fast as it can: all come if it waits
// for space, and what it drops is counted if not.
func TestRingProduce(t *testing.T) {
	dev := open(t, "loop")
	var l ring.Layout
	g, err := l.Add(ring.ToUser, 1, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	contexts := []uint32{loopTask}
	if dpcs {
		contexts = append(contexts, loopDPC)
	}
	for _, context := range contexts {
		for _, size := range []int{24, 64, 1024} {
			for _, flags := range []uint32{loopWait, 0} {
				if context == loopDPC && flags == loopWait {
					continue // a DPC waits for nobody
				}
				t.Run(fmt.Sprintf("context %d, %d bytes, flags %d", context, size, flags), func(t *testing.T) {
					s, buf := share(t, dev, l.Size(), &kshm.ShareOptions{Cookie: 31, Rings: l.Groups()})
					c, err := ring.NewConsumer(buf.Bytes(), g, 0, s)
					if err != nil {
						t.Fatal(err)
					}
					testProduce(t, dev, c, loopCommand{Cookie: 31, Records: 5000, Size: uint32(size), Batch: 32,
						Context: context, Source: 7, Flags: flags})
				})
			}
		}
	}
}

// testProduce looks all the time: in Wine, which serves one request of a driver
// at a time, a wait would come after the call that produces.
func testProduce(t *testing.T, dev *kshm.Device, c *ring.Consumer, command loopCommand) {
	var r loopResult
	var failed error
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(over)
		r, failed = produce(t, dev, command)
	})
	var came, next, latest uint64
	for last := false; !last; runtime.Gosched() {
		select {
		case <-over:
			last = true // and one more look
		default:
		}
		n, err := checked(c, int(command.Size), &next, &latest)
		if came += n; err != nil {
			t.Error(err)
			break
		}
	}
	wg.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	all := r.Produced+r.Dropped == command.Records || r.NS >= loopSeconds*1e9 // then it gives up
	if r.Produced != came || r.Produced == 0 || !all || r.NS == 0 {
		t.Errorf("%+v, %d came", r, came)
	}
	if command.Flags == loopWait && r.Dropped != 0 {
		t.Errorf("%d dropped by a source that waits", r.Dropped)
	}
	t.Logf("%d records, %d dropped, %d ns each", r.Produced, r.Dropped, r.NS/command.Records)
}

// What the driver cannot make is refused.
func TestRingProduceRefused(t *testing.T) {
	dev := open(t, "loop")
	var l ring.Layout
	if _, err := l.Add(ring.ToUser, 1, 4096); err != nil {
		t.Fatal(err)
	}
	share(t, dev, l.Size(), &kshm.ShareOptions{Cookie: 32, Rings: l.Groups()})
	good := loopCommand{Cookie: 32, Records: 1, Size: 64, Batch: 1}
	for name, c := range map[string]struct {
		change func(*loopCommand)
		want   error
	}{
		"no such share":   {func(c *loopCommand) { c.Cookie++ }, windows.STATUS_NOT_FOUND},
		"no such ring":    {func(c *loopCommand) { c.Ring = 1 }, windows.STATUS_NOT_FOUND},
		"too large":       {func(c *loopCommand) { c.Size = 2048 }, windows.STATUS_INVALID_PARAMETER},
		"too small":       {func(c *loopCommand) { c.Size = 16 }, windows.STATUS_INVALID_PARAMETER},
		"no batch":        {func(c *loopCommand) { c.Batch = 0 }, windows.STATUS_INVALID_PARAMETER},
		"unknown flag":    {func(c *loopCommand) { c.Flags = 2 }, windows.STATUS_INVALID_PARAMETER},
		"unknown context": {func(c *loopCommand) { c.Context = 2 }, windows.STATUS_NOT_SUPPORTED},
	} {
		bad := good
		c.change(&bad)
		_, err := produce(t, dev, bad)
		mustBe(t, name, err, c.want)
	}
	if r, err := produce(t, dev, good); err != nil || r.Produced != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	counts := make([]byte, 24)
	if n, err := dev.Control(t.Context(), loopCounts, binary.LittleEndian.AppendUint64(nil, 32), counts); err != nil || n != len(counts) {
		t.Errorf("counts: %d bytes, %v", n, err)
	}
}
