// SPDX-License-Identifier: MIT

// Command testfull runs the long tests, part by part:
//
//	go run ./internal/cmd/testfull [-list] [-run REGEXP] [-redo]
//
// Each part runs alone and has its own limit, an hour at most. What it found
// becomes a row of build/test-full.json at once, and its output a file in
// build/test-full. A part that has passed is not run again until a file that it
// depends on changes, so an interrupted run goes on where it was. At the end one
// table shows all rows; the status is 0 if every selected part has passed, and
// 1 if one has failed or, where CI=true, could not be run for want of a tool.
//
// A part says what it did by lines on its standard output, whose numbers are
// added up by name:
//
//	testfull: operations=20000 kills=40 reports=0 leaks=0
//
// Without one, the operations are the Go tests that passed, of go test -v. Those
// that were skipped are counted, too.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

func main() {
	list := flag.Bool("list", false, "list the parts, and what is known of each")
	match := flag.String("run", "", "run the parts whose names match this `regexp`")
	redo := flag.Bool("redo", false, "run parts that have passed, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx, *match, *list, *redo)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testfull:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, match string, list, redo bool) (ok bool, err error) {
	wanted, err := regexp.Compile(match)
	if err != nil {
		return false, fmt.Errorf("-run: %w", err)
	}
	root, err := moduleRoot()
	if err != nil {
		return false, err
	}
	files, err := readTree(root)
	if err != nil {
		return false, err
	}
	b := &book{path: filepath.Join(root, "build", "test-full.json")}
	if err := b.read(); err != nil {
		return false, err
	}
	chosen := make(map[string]string) // part and its inputs
	for _, p := range parts {
		if !wanted.MatchString(p.Name) || ctx.Err() != nil {
			continue
		}
		inputs := p.inputs(files)
		chosen[p.Name] = inputs
		if list || !redo && b.passed(p.Name, inputs) {
			continue
		}
		if err := b.add(p.run(ctx, root, inputs)); err != nil {
			return false, err
		}
	}
	if len(chosen) == 0 {
		return false, fmt.Errorf("no part matches %q; -list shows them", match)
	}
	return b.print(os.Stdout, chosen) || list, ctx.Err()
}

// moduleRoot is the folder with go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("run this inside the repository")
		}
	}
}
