// SPDX-License-Identifier: MIT

// Proof checks the models of the ring and of the rings that eBPF programs
// consume from, ring.pml and input.pml, with spin, and with -full also a longer
// run of them, the litmus tests with herd7 and the C header with CBMC. What is
// seeded to fail must fail. See docs/protocol.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// options are the tools, each a command with its first arguments.
type options struct {
	full        bool
	spin        string
	herd        string
	memoryModel string
	cbmc        string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("proof: ")
	var o options
	flag.BoolVar(&o.full, "full", false, "also a longer run of spin, herd7 and CBMC")
	flag.StringVar(&o.spin, "spin", "spin", "command of spin 6.5")
	flag.StringVar(&o.herd, "herd", "herd7", "command of herd7 7.58")
	flag.StringVar(&o.memoryModel, "memory-model", os.Getenv("KSHM_MEMORY_MODEL"), "`folder` of the Linux kernel's tools/memory-model")
	flag.StringVar(&o.cbmc, "cbmc", "cbmc", "command of CBMC 6")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("testfull: operations=%d\n", proved)
}

// proved counts what was reported.
var proved int

// run does all proofs, whatever becomes of the ones before.
func run(ctx context.Context, o options) error {
	root, err := repository()
	if err != nil {
		return err
	}
	errs := []error{model(ctx, o, filepath.Join(root, "proof"))}
	if o.full {
		errs = append(errs,
			litmus(ctx, o, filepath.Join(root, "proof", "litmus")),
			header(ctx, o, filepath.Join(root, "driver", "test", "ring", "cbmc.c")))
	}
	return errors.Join(errs...)
}

// repository is the root of the module around the working directory.
func repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// output runs a command line with more arguments in a folder.
func output(ctx context.Context, dir, line string, args ...string) (string, error) {
	words := append(strings.Fields(line), args...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is missing: install it, or give its command with a flag", words[0])
	}
	return string(out), err
}

// report prints one line for each thing proved.
func report(what, verdict string, start time.Time) {
	proved++
	fmt.Printf("%-32s %-40s %6.1fs\n", what, verdict, time.Since(start).Seconds())
}
