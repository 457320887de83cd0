// SPDX-License-Identifier: MIT

//go:build linux && kernel

package main

import (
	"cmp"
	"flag"
	"os"
	"testing"
	"time"
)

var (
	seeded    = flag.Bool("seeded", false, "have bugs seeded, found and shrunk to short scripts")
	stormSeed = flag.Uint64("storm-seed", 1, "seed of TestStorm")
)

// The test binary plays the processes of its storms.
func TestMain(m *testing.M) {
	if playChild() {
		return
	}
	os.Exit(m.Run())
}

// stormTime is how long TestStorm goes on, where the environment does not say.
func stormTime(t *testing.T) time.Duration {
	text := cmp.Or(os.Getenv("KSHM_STORM_TIME"), "30s")
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("KSHM_STORM_TIME: %v", err)
	}
	return d
}

// TestStorm has several processes do legal and illegal things to all drivers at
// once, and kills them again and again. After each round, nothing is left.
func TestStorm(t *testing.T) {
	s := defaults(t.Context())
	s.seed, s.limit, s.perRound, s.shrinkTime = *stormSeed, stormTime(t), 10_000, 0
	if err := s.run(""); err != nil {
		t.Fatal(err)
	}
}
