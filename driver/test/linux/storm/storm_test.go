// SPDX-License-Identifier: MIT

//go:build linux && kernel

package main

import (
	"flag"
	"os"
	"testing"
	"time"
)

var (
	stormTime = flag.Duration("storm", 30*time.Second, "how long TestStorm goes on")
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

// TestStorm has several processes do legal and illegal things to all drivers at
// once, and kills them again and again. After each round, nothing is left.
func TestStorm(t *testing.T) {
	s := defaults(t.Context())
	s.seed, s.limit, s.perRound, s.shrinkTime = *stormSeed, *stormTime, 10_000, 0
	if err := s.run(""); err != nil {
		t.Fatal(err)
	}
}
