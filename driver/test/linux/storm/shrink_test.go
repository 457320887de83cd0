// SPDX-License-Identifier: MIT

//go:build linux && kernel

package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// Bugs of driver/test/linux/probe/probe.h: a kick of a share that was notified
// before answers wrongly, or leaves a kernel mapping behind.
const (
	bugNone   = 0
	bugAnswer = 1
	bugLeak   = 2
)

// A storm finds a seeded bug, and ends at a short script that shows it: the
// share has to be made, notified and kicked. Without the bug, the script is good.
func TestShrinkerFindsSeededBugs(t *testing.T) {
	if !*seeded {
		t.Skip("takes minutes: asked for with -seeded, as make test-shrinker does")
	}
	for name, bug := range map[string]uint64{"answer is": bugAnswer, "kernel mappings": bugLeak} {
		t.Run(name, func(t *testing.T) {
			s := defaults(t.Context())
			// One thread beside the weather: what it does is then the same each
			// time, and the shrinker's own tests see to the rest.
			s.procs, s.lanes, s.perRound, s.tries = 2, 1, 1500, 2
			s.settleTime, s.shrinkTime = 500*time.Millisecond, 5*time.Minute
			if err := s.prepare(); err != nil {
				t.Fatal(err)
			}
			setBug(t, bug)
			t.Cleanup(func() { setBug(t, bugNone) })
			o := firstFailure(t, s)
			fault := faultOf(o.wrong[0])
			if !strings.Contains(fault, name) {
				t.Errorf("found: %s", fault)
			}
			short := s.shrink(o.script, fault)
			short.WriteTo(os.Stdout)
			t.Logf("%q: %d operations, of %d, show it; %d rounds were played", o.wrong, short.Len(), o.script.Len(), s.played)
			if short.Len() < 3 || short.Len() > 12 {
				t.Errorf("%d operations are too few or too many", short.Len())
			}
			if !s.fails(short, fault) {
				t.Error("what is left does not fail")
			}
			setBug(t, bugNone)
			if s.fails(short, fault) {
				t.Error("it fails without the bug, too")
			}
		})
	}
}

func setBug(t *testing.T, bug uint64) {
	t.Helper()
	if err := probeControl(probeBug, bug, nil); err != nil {
		t.Fatal(err)
	}
}

// firstFailure plays rounds until one goes wrong, and does so again.
func firstFailure(t *testing.T, s *storm) outcome {
	t.Helper()
	for n := range uint32(50) {
		o, err := (&round{storm: s, number: n}).play()
		if err != nil {
			t.Fatal(err)
		}
		if len(o.wrong) > 0 && s.fails(o.script, faultOf(o.wrong[0])) {
			return o
		}
	}
	t.Fatal("no storm finds the bug")
	return outcome{}
}
