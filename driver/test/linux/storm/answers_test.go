// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// A storm in which an operation that matters always fails, however documented
// its answer, has to be told from one that works.
func TestWhatNeverSucceedsIsNamed(t *testing.T) {
	var good [script.NumKinds][maxErrno]int64
	for k := range good {
		good[k][0], good[k][unix.ENODEV] = enoughForks, enoughTries
	}
	long := outcome{operations: longStorm, smallKills: 1}
	if list := neverAnswered(&good, &long); len(list) > 0 {
		t.Errorf("after a good storm: %q", list)
	}
	for _, k := range append(slices.Clone(mustSucceed), script.Reload) {
		bad := good
		bad[k][0] = 0
		if list := neverAnswered(&bad, &long); !slices.Equal(list, []string{script.Kinds[k].Name}) {
			t.Errorf("%s never succeeds: %q", script.Kinds[k].Name, list)
		}
	}
	if list := neverAnswered(&good, &outcome{}); len(list) != 1 {
		t.Errorf("no child was killed: %q", list)
	}
	if list := neverAnswered(new([script.NumKinds][maxErrno]int64), &outcome{}); len(list) > 0 {
		t.Errorf("nothing was tried: %q", list)
	}
}

// In a round, too: what fails for ever from the second one on has succeeded before.
func TestWhatNeverSucceedsInARoundIsNamed(t *testing.T) {
	for _, k := range mustGoOn {
		var answers [script.NumKinds][maxErrno]int64
		answers[k][unix.EUSERS] = enoughRound
		if list := neverOf(mustGoOn, &answers, enoughRound); !slices.Equal(list, []string{script.Kinds[k].Name}) {
			t.Errorf("%s never succeeds: %q", script.Kinds[k].Name, list)
		}
		answers[k][0], answers[k][unix.EUSERS] = 0, enoughRound-1
		if list := neverOf(mustGoOn, &answers, enoughRound); len(list) > 0 {
			t.Errorf("a round that ended early: %q", list)
		}
		answers[k][0], answers[k][unix.EUSERS] = 1, enoughRound
		if list := neverOf(mustGoOn, &answers, enoughRound); len(list) > 0 {
			t.Errorf("it succeeded: %q", list)
		}
	}
}

// Of an effect, only what was tried often enough, on a kernel that has such a
// thing, is missed.
func TestMissingEffectsAreNamed(t *testing.T) {
	for e, spec := range effects {
		var tries [numEffects]tried
		yes, no := func(string) bool { return true }, func(file string) bool { return file != spec.file }
		tries[e].times = spec.enough
		if list := withoutEffect(&tries, yes); !slices.Equal(list, []string{spec.name}) {
			t.Errorf("without %s: %q", spec.name, list)
		}
		if list := withoutEffect(&tries, no); len(list) > 0 {
			t.Errorf("without %s, which the kernel has not: %q", spec.name, list)
		}
		tries[e].times--
		if list := withoutEffect(&tries, yes); len(list) > 0 {
			t.Errorf("without %s, in a short storm: %q", spec.name, list)
		}
		tries[e] = tried{spec.enough, 1}
		if list := withoutEffect(&tries, yes); len(list) > 0 {
			t.Errorf("with %s: %q", spec.name, list)
		}
	}
}

// The host judges the reports of KCSAN, by the module that they name.
func TestComplaintsOfTheGuest(t *testing.T) {
	for line, want := range map[string]bool{
		"BUG: KCSAN: data-race in foo [kshm] / bar":            false,
		"BUG: KASAN: slab-use-after-free in foo":               true,
		"BUG: unable to handle page fault for address: 0":      true,
		"WARNING: CPU: 0 PID: 1 at mm/gup.c:1 foo+0x1":         true,
		"cgroup: fork rejected by pids controller in /storm":   false,
		"refcount_t: underflow; use-after-free.":               true,
		"storm invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL)": false,
	} {
		if complains(line) != want {
			t.Errorf("%q: want %v", line, want)
		}
	}
}
