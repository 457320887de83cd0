// SPDX-License-Identifier: MIT

package kshmtest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"kshm"
)

// Backend is an open driver and what Conformance must know about it. The
// driver's protocol is its own; all that is asked of it is that a request
// which the program writes into the shared memory and announces with a Kick is
// answered in the shared memory, and then with one event.
type Backend struct {
	// Device is freshly opened. Conformance closes it.
	Device *kshm.Device
	// Size is the length in bytes of the buffers to share; 0: 16 KiB, or what
	// Device.Info asks for.
	Size int
	// Ask writes request number n into the memory: n grows from 1 on and is
	// never used twice on the same memory. The Kick comes afterwards.
	Ask func(mem []byte, n uint64)
	// Answered is nil once the driver's answer to request n is in the memory,
	// and right. It is called while the driver may be writing it.
	Answered func(mem []byte, n uint64) error

	// What follows is optional. A clause that needs it does not exist without.

	// Polls: the driver looks for requests by itself, without a Kick.
	Polls bool
	// Pinned is what all shares of the driver pin at the moment, in any unit.
	Pinned func() (uint64, error)
	// Revoke makes the driver take back the share, which is the latest one.
	// It may be called from any goroutine.
	Revoke func(*kshm.Share) error
	// Remove takes the driver away under the program. No further Backend is
	// opened from this one's driver.
	Remove func() error
	// Exit ends the process that has opened the device, as far as the driver
	// can see, while this one lives on.
	Exit func()
	// Foreign maps memory that the driver's system must refuse.
	Foreign func(t testing.TB) []byte
	// Children: the driver sees real processes. Conformance starts this test
	// binary again, and kills it.
	Children bool
}

// Conformance runs the clauses of the share contract as subtests against the
// backend that open opens. open is called for each subtest, more than once in
// some, with the subtest's t.
func Conformance(t *testing.T, open func(t testing.TB) *Backend) {
	if os.Getenv(childEnv) == t.Name() {
		playChild(t, open)
		return
	}
	probe := open(t)
	probe.Device.Close()
	for _, c := range clauses {
		if c.needs != nil && !c.needs(probe) {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.run(&bench{T: t, open: open}) })
	}
}

// clause is one statement that holds for every backend.
type clause struct {
	name  string
	needs func(*Backend) bool // nil: nothing
	run   func(*bench)
}

// clauses are in the order of docs/recipe.md: the memory, the two sides at
// work, events, the program's end, the other ends, refusals.
var clauses = []clause{
	{"memory/any length from the least one", nil, anyLength},
	{"memory/a part of a buffer", nil, partOfBuffer},
	{"memory/read-only", canReadOnly, readOnlyShare},
	{"memory/several shares", nil, severalShares},
	{"memory/one buffer in two shares", nil, sharedTwice},
	{"memory/not closed while shared", nil, bufferInUse},

	{"live/both directions", nil, liveBothWays},
	{"live/without any call", func(b *Backend) bool { return b.Polls }, liveWithoutCall},

	{"events/never lost", nil, eventsNeverLost},
	{"events/a hundred waiters", nil, hundredWaiters},
	{"events/context", nil, waitContext},
	{"events/outlive the share", nil, eventsOutlive},
	{"stats/tell the truth", nil, statsTruthful},

	{"done/synchronous", nil, doneSynchronous},
	{"done/while the driver works", nil, doneWhileWorking},
	{"done/idempotent", nil, doneIdempotent},
	{"done/against everything else", nil, doneRaces},
	{"done/again and again", nil, shareManyTimes},
	{"done/by the collector", nil, droppedShare},
	{"done/use after it", nil, useAfterDone},
	{"device/close ends its shares", nil, deviceClose},
	{"device/close against share", nil, deviceCloseRaces},
	{"device/use after close", nil, useAfterDeviceClose},

	{"end/revoked", func(b *Backend) bool { return b.Revoke != nil }, revoked},
	{"end/revoked against done", func(b *Backend) bool { return b.Revoke != nil }, revokeRaces},
	{"end/driver removed", func(b *Backend) bool { return b.Remove != nil }, driverRemoved},
	{"end/program exits", func(b *Backend) bool { return b.Exit != nil }, programExits},
	{"end/program killed", func(b *Backend) bool { return b.Children }, programKilled},

	{"refused/arguments", nil, refusedArguments},
	{"refused/lengths", nil, refusedLengths},
	{"refused/misaligned", nil, refusedMisaligned},
	{"refused/options", nil, refusedOptions},
	{"refused/too many shares", hasCap, refusedTooMany},
	{"refused/foreign memory", func(b *Backend) bool { return b.Foreign != nil }, refusedForeign},
	{"refused/control code", nil, refusedControl},
}

// patience is when a test gives up waiting. Nothing is measured with it.
var patience = 2 * time.Minute

// bench is where a clause is put to the test.
type bench struct {
	*testing.T
	open func(t testing.TB) *Backend
}

// device opens a fresh backend and closes it when the test ends.
func (b *bench) device() *Backend {
	b.Helper()
	be := b.open(b)
	if be.Size == 0 {
		info := be.Device.Info()
		be.Size = int(min(max(16<<10, info.MinLength), info.MaxLength))
	}
	b.Cleanup(func() { be.Device.Close() })
	return be
}

// memory is a buffer, with the number of requests ever written into it.
type memory struct {
	*kshm.Buffer
	asked uint64
}

func (b *bench) alloc(be *Backend) *memory {
	b.Helper()
	return b.allocSize(be, be.Size)
}

func (b *bench) allocSize(be *Backend, size int) *memory {
	b.Helper()
	buf, err := be.Device.Alloc(size, nil)
	b.ok(err)
	b.Cleanup(func() { b.ok(buf.Close()) })
	return &memory{buf, 0}
}

// share opens a share of a fresh buffer.
func (b *bench) share(be *Backend) *work {
	b.Helper()
	return b.shareOf(be, b.alloc(be))
}

func (b *bench) shareOf(be *Backend, mem *memory) *work {
	b.Helper()
	s, err := be.Device.Share(mem.Buffer, nil)
	b.ok(err)
	b.Cleanup(func() { b.ok(s.Close()) })
	return &work{b, be, mem, s}
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// pinned is the backend's count of pinned memory, 0 if it has none.
func (b *bench) pinned(be *Backend) uint64 {
	b.Helper()
	if be.Pinned == nil {
		return 0
	}
	n, err := be.Pinned()
	b.ok(err)
	return n
}

// work is a share at work.
type work struct {
	*bench
	be    *Backend
	mem   *memory
	share *kshm.Share
}

// ask writes a new request and kicks.
func (w *work) ask() {
	w.Helper()
	w.write()
	w.ok(w.share.Kick())
}

func (w *work) write() {
	w.mem.asked++
	w.be.Ask(w.mem.Bytes(), w.mem.asked)
}

func (w *work) look() error { return w.be.Answered(w.mem.Bytes(), w.mem.asked) }

// answered waits by events until the driver has answered.
func (w *work) answered() {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var seen uint64
	for why := w.look(); why != nil; why = w.look() {
		var err error
		if seen, err = w.share.Wait(ctx, seen); err != nil {
			w.Fatalf("request %d: %v; %v", w.mem.asked, why, err)
		}
	}
}

// appears waits for the answer by looking at the memory alone.
func (w *work) appears() {
	w.Helper()
	deadline := time.Now().Add(patience)
	for why := w.look(); why != nil; why = w.look() {
		if time.Now().After(deadline) {
			w.Fatalf("request %d: %v", w.mem.asked, why)
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// round is a request, its event and its answer; none of them is under way when
// it returns.
func (w *work) round() {
	w.Helper()
	seen := w.share.Events()
	w.ask()
	w.waitMore(seen)
	w.answered()
}

// mustBe holds an error to be of the package's kind and to say want.
func (b *bench) mustBe(what string, err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Errorf("%s: %v, want %v", what, err, want)
		return
	}
	if op, ok := errors.AsType[*kshm.OpError](err); !ok || op.Op == "" {
		b.Errorf("%s: %v is no OpError with its operation", what, err)
	}
}
