// SPDX-License-Identifier: MIT

// Package demo shows the share contract on a real file and a real kernel: it
// streams the file through shared memory to the digest driver, ends the share,
// kills a process that holds another one, and proves what it can about each.
//
// The work (Run) happens where the driver is: on this machine or in a guest.
// What it says travels as events to where the user is (Screen, Report).
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"

	"kshm"
)

// pieceSize is the most that is hashed at a time. With the driver's page it
// stays well below the 8 MiB that an unprivileged user may usually lock.
const pieceSize = 1 << 20

// A Job is what Run needs.
type Job struct {
	Device *kshm.Device // the digest driver; Run closes it
	Source io.Reader    // the file
	Size   int64        // bytes of it
	Census Census
	// Child starts this program again as the child that is killed (Share, or
	// Fill on Windows), whose arguments it appends to; nil if there can be none.
	Child []string
	Emit  Emit
}

// Facts are what Run found out.
type Facts struct {
	KernelSide      string  `json:"kernel_side"`
	Kernel          string  `json:"kernel"`
	Driver          string  `json:"driver"`
	DriverVersion   uint32  `json:"driver_version"`
	ABI             string  `json:"abi"`
	Bytes           int64   `json:"bytes"`
	SHA256          string  `json:"sha256"`            // the kernel's
	LiveUpdates     int64   `json:"live_updates"`      // changes of the kernel's counter, seen in memory
	ShareUS         float64 `json:"share_us"`          // what Share took
	PinUS           float64 `json:"pin_us"`            // of that, in the kernel, pinning
	MapUS           float64 `json:"map_us"`            // and mapping
	PagesShared     int64   `json:"pages_shared"`      // pinned while shared
	Kicks           uint64  `json:"kicks"`             // by the kernel's count
	Events          uint64  `json:"events"`            // by the kernel's count
	PinsLeaked      *int64  `json:"pins_leaked"`       // pages still pinned after DONE; null: unknown
	KillPinsLeaked  *int64  `json:"kill9_pins_leaked"` // and after kill -9
	KillShareEnded  *bool   `json:"kill9_share_ended"` // what the heir of the killed child's descriptor read
	Unproven        string  `json:"unproven,omitempty"`
	ElapsedSeconds  float64 `json:"seconds"`
	KernelSaysEnded string  `json:"end_reason"`
}

// Run does the whole job and returns what it found, also if something failed.
func Run(ctx context.Context, j Job) (*Facts, error) {
	r := &runner{Job: j, facts: &Facts{Kernel: kernelRelease(), Bytes: j.Size}}
	begin := time.Now()
	err := r.run(ctx)
	if e := j.Device.Close(); err == nil {
		err = e
	}
	r.facts.ElapsedSeconds = time.Since(begin).Seconds()
	return r.facts, err
}

type runner struct {
	Job
	facts *Facts
	share *kshm.Share
	buf   *kshm.Buffer
	pins  *pinProof
}

func (r *runner) run(ctx context.Context) error {
	r.introduce()
	if err := r.begin(); err != nil {
		return err
	}
	err := r.stream(ctx)
	if e := r.end(); err == nil {
		err = e
	}
	if err != nil || r.Child == nil {
		return err
	}
	return r.killChild(ctx)
}

func (r *runner) say(step int, lane Lane, format string, args ...any) {
	r.Emit(Event{Step: &Step{step, lane, fmt.Sprintf(format, args...)}})
}

// introduce is step 1; the device is open already.
func (r *runner) introduce() {
	i := r.Device.Info()
	r.facts.KernelSide, r.facts.Driver, r.facts.DriverVersion = i.KernelSide, i.Driver, i.DriverVersion
	r.facts.ABI = fmt.Sprintf("%d.%d", i.Major, i.Minor)
	r.say(1, Program, "open %s", r.Device.Name())
	r.say(1, Kernel, "driver %s %d, ABI %s", i.Driver, i.DriverVersion, r.facts.ABI)
}

// begin is steps 2 to 4.
func (r *runner) begin() error {
	var err error
	size := int(digestData + min(max(r.Size, 1), pieceSize))
	if r.buf, err = r.Device.Alloc(size, nil); err != nil {
		return err
	}
	clear(r.buf.Bytes()) // as a program's memory in use: no page is missing
	r.pins = beginPinProof(r.Census)
	r.say(2, Program, "SHARE %s bytes of its own", humanize.Comma(int64(size)))
	begin := time.Now()
	if r.share, err = r.Device.Share(r.buf, nil); err != nil {
		return errors.Join(err, r.buf.Close())
	}
	r.facts.ShareUS = micros(time.Since(begin))
	st, err := r.share.Stats()
	if err != nil {
		return errors.Join(err, r.end())
	}
	r.facts.PagesShared = int64(st.Pinned) / int64(os.Getpagesize())
	r.facts.PinUS, r.facts.MapUS = micros(st.PinTime), micros(st.MapTime)
	r.pins.shared(r.facts.PagesShared)
	if st.PinTime > 0 {
		r.say(3, Kernel, "%d pages pinned in %.0f µs", r.facts.PagesShared, r.facts.PinUS)
	} else {
		r.say(3, Kernel, "%d pages pinned before the driver saw the request", r.facts.PagesShared)
	}
	r.say(4, Kernel, "mapped for the driver in %.0f µs; SHARE stays pending", r.facts.MapUS)
	return nil
}

// stream is step 5, and 9 on the way.
func (r *runner) stream(ctx context.Context) error {
	r.say(5, Program, "fill the memory and kick, in pieces")
	s, err := newStream(r.share, r.buf.Bytes(), r.Emit)
	if err != nil {
		return err
	}
	r.facts.SHA256, err = s.run(ctx, r.Source, r.Size)
	r.facts.LiveUpdates = s.live
	st, statErr := r.share.Stats()
	if err = errors.Join(err, statErr); err != nil {
		return err
	}
	r.facts.Kicks, r.facts.Events = st.Kicks, st.Events
	r.say(5, Kernel, "%s hashed where they lie", humanize.Bytes(uint64(r.Size)))
	r.say(5, Program, "the kernel's counter changed %s times, seen in memory, by no system call", humanize.Comma(s.live))
	r.say(9, Kernel, "%s kicks came, %s events raised", humanize.Comma(int64(st.Kicks)), humanize.Comma(int64(st.Events)))
	r.say(9, Program, "%s events heard", humanize.Comma(int64(s.events)))
	return nil
}

// end is steps 6 and 7.
func (r *runner) end() error {
	r.say(6, Program, "DONE")
	err := r.share.Close()
	st, statErr := r.share.Stats()
	r.facts.KernelSaysEnded = st.Reason.String()
	r.facts.PinsLeaked = r.pins.leaked()
	if statErr == nil {
		r.say(7, Kernel, "driver stopped; unmapped, unpinned; SHARE completes: %v", st.Reason)
		if st.Pinned != 0 {
			err = errors.Join(err, fmt.Errorf("the kernel still has %d bytes of the ended share pinned", st.Pinned))
		}
	}
	r.sayPins(7, r.facts.PinsLeaked, r.facts.PagesShared, r.pins.err)
	return errors.Join(err, statErr, r.buf.Close())
}

// sayPins tells what was proven of pinned pages, and why no more.
func (r *runner) sayPins(step int, leaked *int64, pages int64, why error) {
	switch {
	case leaked == nil:
		r.facts.Unproven = why.Error()
		r.say(step, Program, "not proven for the whole system: %v", why)
	case *leaked == 0:
		r.say(step, Kernel, "pinned pages in the system: %+d before, +0 now", pages)
	default:
		r.say(step, Kernel, "pinned pages in the system: %+d before, STILL %+d NOW", pages, *leaked)
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
