// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// harnesses are the functions of cbmc.c.
var harnesses = []string{"producer", "consumer_next", "consumer_release", "consumer_arm", "geometry"}

const (
	seeded = "-DDATA=CAPACITY-8"    // a bug that must be found: eight bytes of the data are not there
	alone  = "-DKSHM_RING_NESTED=0" // the producer of a program, which nothing interrupts
)

// header checks kshm_ring.h for every content of the shared bytes.
func header(ctx context.Context, o options, source string) error {
	var errs []error
	for _, function := range harnesses {
		errs = append(errs, harness(ctx, o, source, function, ""))
	}
	errs = append(errs, harness(ctx, o, source, "producer", alone))
	for _, function := range []string{"producer", "consumer_next"} {
		errs = append(errs, harness(ctx, o, source, function, seeded))
	}
	return errors.Join(errs...)
}

// harness checks one function of cbmc.c, which a definition may change.
func harness(ctx context.Context, o options, source, function, define string) error {
	start, mustFail := time.Now(), define == seeded
	args := []string{"--function", function,
		"--bounds-check", "--pointer-check", "--pointer-overflow-check", "--signed-overflow-check",
		"--unwind", "4", "--unwinding-assertions", filepath.Base(source)}
	name := "cbmc, " + function
	if define != "" {
		args = append([]string{define}, args...)
		name += ", " + define
	}
	out, err := output(ctx, filepath.Dir(source), o.cbmc, args...)
	switch {
	case mustFail && strings.Contains(out, "VERIFICATION FAILED"):
		report(name, "fails, as it must", start)
		return nil
	case mustFail:
		return fmt.Errorf("%s: the seeded bug was not found: %w\n%s", name, err, out)
	case err != nil || !strings.Contains(out, "VERIFICATION SUCCESSFUL"):
		return fmt.Errorf("%s: %w\n%s", name, err, failures(out))
	}
	report(name, "holds", start)
	return nil
}

// failures are the lines of CBMC's output that say what does not hold.
func failures(out string) string {
	var bad []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "FAILURE") || strings.Contains(line, "rror") {
			bad = append(bad, line)
		}
	}
	return strings.Join(bad, "")
}
