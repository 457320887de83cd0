// SPDX-License-Identifier: MIT

//go:build linux

// Command storm has many processes and threads do legal and illegal things to
// all drivers at once, kills them, and looks whether anything is left:
//
//	storm [-seed N] [-ops N] [-kills N] [-for DURATION] [-script FILE]
//
// It runs as root in a virtual machine that has the modules kshm, digest,
// kshm_loop and probe loaded and digest.ko and kshm_loop.ko in /modules. It goes
// on in rounds until it has performed -ops operations and killed -kills small
// children, or until -for is over. What every thread does follows from the seed.
// A round that fails is written down, made as short as it can be while it still
// fails, and printed; -script plays what was printed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"kshm/driver/test/linux/storm/script"
)

// ordersVariable makes this program a process of a storm.
const ordersVariable = "KSHM_STORM"

// playChild is what this program does in a storm that another started.
func playChild() bool {
	if text := os.Getenv(ordersVariable); text != "" {
		if err := playProcess(text); err != nil {
			fmt.Fprintln(os.Stderr, "storm: process:", err)
			os.Exit(70)
		}
		return true
	}
	if text := os.Getenv(heirVariable); text != "" {
		if err := playHeir(text); err != nil {
			fmt.Fprintln(os.Stderr, "storm: heir:", err)
			os.Exit(70)
		}
		return true
	}
	return false
}

func main() {
	if playChild() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := defaults(ctx)
	file := flag.String("script", "", "play this `file` instead of a seed, several times")
	flag.Uint64Var(&s.seed, "seed", 1, "what decides what every thread does")
	flag.Int64Var(&s.ops, "ops", 0, "operations to perform")
	flag.Int64Var(&s.wantKills, "kills", 0, "small children to kill")
	flag.DurationVar(&s.limit, "for", time.Hour, "how long to go on")
	flag.Uint64Var(&s.perRound, "round", s.perRound, "operations in a round")
	flag.DurationVar(&s.patience, "patience", s.patience, "after which an operation counts as stuck")
	flag.DurationVar(&s.shrinkTime, "shrink", s.shrinkTime, "how long to look for a shorter script that fails")
	flag.BoolVar(&s.goOn, "go-on", false, "go on after a round that went wrong, and do not look for a shorter script")
	flag.Parse()
	if err := s.run(*file); err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

func (s *storm) run(file string) error {
	if err := s.prepare(); err != nil {
		return err
	}
	if file == "" {
		return s.rage()
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := script.Parse(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for range s.tries {
		o, err := s.replay(c)
		if err != nil {
			return err
		}
		fmt.Printf("storm: %d operations, wrong: %q\n", o.operations, o.wrong)
		if len(o.wrong) > 0 {
			return fmt.Errorf("the script fails")
		}
	}
	return nil
}
