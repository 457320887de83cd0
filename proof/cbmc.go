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

// header checks kshm_ring.h for every content of the shared bytes.
func header(ctx context.Context, o options, source string) error {
	var errs []error
	for _, function := range harnesses {
		start := time.Now()
		out, err := output(ctx, filepath.Dir(source), o.cbmc, "--function", function,
			"--bounds-check", "--pointer-check", "--pointer-overflow-check", "--signed-overflow-check",
			"--unwind", "4", "--unwinding-assertions", filepath.Base(source))
		if err != nil || !strings.Contains(out, "VERIFICATION SUCCESSFUL") {
			errs = append(errs, fmt.Errorf("cbmc, %s: %w\n%s", function, err, failures(out)))
			continue
		}
		report("cbmc, "+function, "holds", start)
	}
	return errors.Join(errs...)
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
