// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// models are those there are, with their seeded bugs, which must be found.
var models = []struct {
	file string
	bugs []string
}{
	{"ring.pml", []string{
		"PRODUCER_NO_FENCE", "CONSUMER_NO_FENCE", "ARM_NO_FENCE", "NO_RELEASE", "NO_RECHECK",
		"LATE_SEEN", "FLAG", "NUMBERS=4", "EARLY_RELEASE", "NO_LAST_LOOK", "FORGOTTEN_KICK",
	}},
	{"input.pml", []string{"GIVE_UP", "SWALLOW", "LATE_CALL", "EARLY_LOOK", "LATE_CLEAR", "CUT_OFF"}},
}

var (
	errorCount = regexp.MustCompile(`errors: (\d+)`)
	states     = regexp.MustCompile(`(\d+) states, stored`)
)

// model checks the models in a folder in every state, then with each seeded bug.
func model(ctx context.Context, o options, dir string) error {
	records := 3
	if o.full {
		records = 4
	}
	var errs []error
	for _, m := range models {
		source := filepath.Join(dir, m.file)
		errs = append(errs, explore(ctx, o, source, records, "", false))
		for _, bug := range m.bugs {
			errs = append(errs, explore(ctx, o, source, 3, bug, true))
		}
	}
	return errors.Join(errs...)
}

// explore visits all states of the model, or those up to the first error.
func explore(ctx context.Context, o options, source string, records int, bug string, mustFail bool) error {
	start, file := time.Now(), filepath.Base(source)
	dir, err := os.MkdirTemp("", "spin")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil {
		return err
	}
	args := []string{fmt.Sprintf("-DRECORDS=%d", records)}
	if bug != "" {
		args = append(args, "-D"+bug)
	}
	if out, err := output(ctx, dir, o.spin+" -a", append(args, file)...); err != nil {
		return fmt.Errorf("spin: %w\n%s", err, out)
	}
	optimize := " -O1"
	if mustFail { // found at once: what takes time is the compiler
		optimize = " -O0"
	}
	if out, err := output(ctx, dir, "gcc"+optimize+" -w -DSAFETY -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c"); err != nil {
		return fmt.Errorf("compile the verifier: %w\n%s", err, out)
	}
	out, err := output(ctx, dir, filepath.Join(dir, "pan"), "-m1000000")
	name := fmt.Sprintf("%s, %d records", file, records)
	if bug != "" {
		name = file + ", " + bug
	}
	found := errorCount.FindStringSubmatch(out)
	switch {
	case err != nil || found == nil || strings.Contains(out, "out of memory") || strings.Contains(out, "too small"):
		return fmt.Errorf("%s: the search did not finish: %w\n%s", name, err, out)
	case mustFail && found[1] == "0":
		return fmt.Errorf("%s: the seeded bug was not found", name)
	case !mustFail && found[1] != "0":
		return fmt.Errorf("%s: %s", name, out)
	case mustFail:
		report(name, "fails, as it must", start)
	default:
		report(name, "holds in all "+states.FindStringSubmatch(out)[1]+" states", start)
	}
	return nil
}
