// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// litmus runs every test of the folder. Its comment begins with the verdict
// that it must get: Never, or Sometimes for one with a seeded bug.
func litmus(ctx context.Context, o options, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.litmus"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no litmus tests in %s: %w", dir, err)
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, litmusTest(ctx, o, file))
	}
	return errors.Join(errs...)
}

func litmusTest(ctx context.Context, o options, file string) error {
	start := time.Now()
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	want := "Never"
	if strings.Contains(string(text), "Sometimes: ") {
		want = "Sometimes"
	}
	var args []string
	if strings.HasPrefix(string(text), "C ") { // the Linux kernel's model
		m, err := filepath.Abs(o.memoryModel)
		if err != nil {
			return err
		}
		in := func(name string) string { return filepath.Join(m, "linux-kernel."+name) }
		args = []string{"-I", m, "-conf", in("cfg"), "-macros", in("def"), "-bell", in("bell"), "-cat", in("cat")}
	}
	out, err := output(ctx, filepath.Dir(file), o.herd, append(args, file)...)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(file), err, out)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".litmus")
	if !strings.Contains(out, "Observation "+name+" "+want+" ") {
		return fmt.Errorf("%s: not %q\n%s", name, want, out)
	}
	report("litmus, "+name, want, start)
	return nil
}
