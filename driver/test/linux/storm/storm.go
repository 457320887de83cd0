// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// A storm is what all its rounds have in common.
type storm struct {
	ctx        context.Context
	seed       uint64
	mix        script.Mix
	procs      uint32 // the weather's included
	lanes      uint32
	ops        int64
	wantKills  int64
	limit      time.Duration
	perRound   uint64
	patience   time.Duration // with one operation
	settleTime time.Duration // for a machine to come to rest
	shrinkTime time.Duration
	goOn       bool
	played     int // rounds
	tries      int // of a script, before it counts as good
	noise      int // memfd of random words
	journal    *journal
	slab       [2]int64 // KB, when caches were warm, and now
	answers    [script.NumKinds][maxErrno]int64
	effects    [numEffects]tried
	shares     uint64 // that the probe had seen before
}

func defaults(ctx context.Context) *storm {
	return &storm{
		ctx: ctx, seed: 1, procs: 5, lanes: 3, perRound: 50_000, limit: time.Minute,
		patience: 5 * time.Minute, settleTime: time.Minute, shrinkTime: 5 * time.Minute, tries: 5,
	}
}

// prepare makes the machine ready, once.
func (s *storm) prepare() (err error) {
	for _, name := range reloadable {
		if _, err := os.Stat(moduleFile(name)); err != nil {
			return fmt.Errorf("%w: the storm loads drivers again, so the machine needs their files", err)
		}
	}
	if s.noise, err = unix.MemfdCreate("storm-noise", unix.MFD_CLOEXEC); err != nil {
		return err
	}
	if _, err = unix.Pwrite(s.noise, noise(), 0); err != nil {
		return err
	}
	if s.journal, err = openJournal(); err != nil {
		return err
	}
	os.WriteFile("/proc/sys/vm/oom_dump_tasks", []byte("0"), 0)
	if err := makeCgroup(); err != nil {
		return err
	}
	probe, err := askProbe()
	if err != nil {
		return err
	}
	s.shares = probe.Shares
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: memlock, Max: memlock})
}

// noise is words that break things: numbers near limits, and any numbers.
func noise() []byte {
	b := make([]byte, 0, 8*(script.Noise+512))
	for i := range uint32(script.Noise + 512) {
		b = binary.NativeEndian.AppendUint64(b, noiseWord(i))
	}
	return b
}

// noiseWord is the word at an index, without looking.
func noiseWord(i uint32) uint64 {
	x := uint64(i)*0x9e3779b97f4a7c15 + 1
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 32
	switch i % 8 {
	case 0:
		return 0
	case 1:
		return x
	case 2:
		return x % 4096 * 8 // a position
	case 3:
		return abiRecord(x)
	case 4:
		return 1 << (x % 64)
	case 5:
		return -(x % 4096)
	case 6:
		return x % 64
	}
	return x >> (x % 64)
}

// abiRecord is a record's header, or nearly one.
func abiRecord(x uint64) uint64 { return x%4<<32 | x>>8%512 }

// rage goes on, round after round, until enough is done or something is wrong.
func (s *storm) rage() error {
	s.mix = script.Mix{Forks: 5000, Kills: 200}
	if s.ops > 0 {
		s.mix.Forks = int(s.wantKills * 1_000_000 * forksPerKill / s.ops)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.limit)
	defer cancel()
	whole := s.ctx
	s.ctx = ctx
	var total outcome
	wrong, begin := 0, time.Now()
	for n := uint32(1); !s.enough(&total) && ctx.Err() == nil; n++ {
		r := &round{storm: s, number: n}
		o, err := r.play()
		if err != nil {
			return err
		}
		total.add(&o)
		fmt.Printf("storm: seed %d, round %d: %d operations, %d small children and %d processes killed, slab %d KB, %.0f s\n",
			s.seed, n, o.operations, o.smallKills, o.kills, s.measureSlab(n), time.Since(begin).Seconds())
		if len(o.wrong) > 0 && !s.goOn {
			s.summary(&total)
			s.ctx = whole
			return s.explain(r, o)
		}
		if len(o.wrong) > 0 {
			wrong++
			fmt.Printf("storm: round %d: %s\n", n, strings.Join(o.wrong, "; "))
		}
	}
	return s.conclude(&total, wrong)
}

// enough reports whether all that was asked for has been done.
func (s *storm) enough(o *outcome) bool {
	return s.ops > 0 && o.operations >= s.ops && o.smallKills >= s.wantKills
}

func (s *storm) conclude(total *outcome, wrong int) error {
	grown := s.slab[1] - s.slab[0]
	if grown > slabSlackKB() {
		total.leaks++
	}
	s.summary(total)
	idle, err := s.neverDone(total)
	switch {
	case wrong > 0:
		return fmt.Errorf("%d rounds went wrong", wrong)
	case err != nil:
		return err
	case len(idle) > 0:
		return fmt.Errorf("nothing of this has ever succeeded: %s", strings.Join(idle, ", "))
	case grown > slabSlackKB():
		return fmt.Errorf("the slab grew by %d KB", grown)
	case s.ops > 0 && !s.enough(total):
		return fmt.Errorf("out of time after %v", s.limit)
	}
	return nil
}

// forksPerKill is about how many small children it takes for one to share before
// it is killed.
const forksPerKill = 4

// mustSucceed are the kinds of operations without which a storm shows little.
var mustSucceed = []script.Kind{script.Share, script.Kick, script.Done, script.Stats, script.Read, script.Exchange, script.Produce, script.Open}

// mustGoOn are those that have to succeed in every round: what is used up does
// not come back in the next.
var mustGoOn = []script.Kind{script.Share, script.Kick, script.Done}

// How much is enough for one to succeed, which one in ten does where it is
// seldom; to kill a child that shares, one in three; and for the weather to load
// a driver again.
const (
	enoughTries = 200
	enoughForks = 30
	enoughRound = 300     // tries in one round
	longStorm   = 200_000 // operations
)

// neverDone lists what ought to have succeeded now and then, and never has.
func (s *storm) neverDone(total *outcome) (list []string, err error) {
	probe, err := askProbe()
	if err == nil && probe.Shares == s.shares {
		list = append(list, "share() of the probe")
	}
	limitsReached(&s.effects)
	list = append(list, neverAnswered(&s.answers, total)...)
	return append(list, withoutEffect(&s.effects, exists)...), err
}

func neverAnswered(answers *[script.NumKinds][maxErrno]int64, total *outcome) (list []string) {
	list = neverOf(mustSucceed, answers, enoughTries)
	if total.operations >= longStorm && answers[script.Reload][0] == 0 {
		list = append(list, script.Kinds[script.Reload].Name)
	}
	if total.smallKills == 0 && answers[script.Fork][0] >= enoughForks {
		list = append(list, "kill -9 of a child that shares")
	}
	return list
}

// neverOf lists those of the kinds that were tried so often without success.
func neverOf(kinds []script.Kind, answers *[script.NumKinds][maxErrno]int64, tries int64) (list []string) {
	for _, k := range kinds {
		if answers[k][0] == 0 && sum(&answers[k]) >= tries {
			list = append(list, script.Kinds[k].Name)
		}
	}
	return list
}

func sum(answers *[maxErrno]int64) (n int64) {
	for _, a := range answers {
		n += a
	}
	return n
}

// measureSlab keeps what the slab holds when caches are warm, and what it holds
// now, and returns that.
func (s *storm) measureSlab(round uint32) int64 {
	now := slabKB()
	if round <= 2 {
		s.slab[0] = now
	}
	s.slab[1] = now
	return now
}

// summary prints what was done, and how it was answered.
func (s *storm) summary(o *outcome) {
	for k, spec := range script.Kinds {
		var b strings.Builder
		for e, n := range s.answers[k] {
			if n > 0 && e == 0 {
				fmt.Fprintf(&b, " ok %d", n)
			} else if n > 0 {
				fmt.Fprintf(&b, ", %s %d", unix.ErrnoName(unix.Errno(e)), n)
			}
		}
		fmt.Printf("storm: %-9s%s\n", spec.Name, b.String())
	}
	limitsReached(&s.effects)
	printEffects(&s.effects)
	fmt.Printf("testfull: operations=%d kills=%d kills_before_share=%d processes_killed=%d reports=%d leaks=%d\n",
		o.operations, o.smallKills, o.earlyKills, o.kills, o.reports, o.leaks)
}

// slabKB is what the kernel's allocator holds once caches are dropped.
func slabKB() int64 {
	setFile("/proc/sys/vm/drop_caches", "3")
	return fields("/proc/meminfo")["SUnreclaim:"]
}

// slabSlackKB is how much the slab may grow without a leak: a leaked object of
// the smallest size per share would be more, over a long storm. KASAN keeps
// freed objects for a while; kernels with it have kmemleak for this.
func slabSlackKB() int64 {
	if _, err := os.Stat("/sys/kernel/debug/kmemleak"); err == nil {
		return fields("/proc/meminfo")["MemTotal:"] / 16
	}
	return 8 << 10
}
