// SPDX-License-Identifier: MIT

// Command analyze looks for bugs in the kernel's C without running it: sparse,
// clang's static analyzer and Coccinelle with the kernel's collection of
// scripts go over every module of the project.
//
//	go run ./internal/cmd/deps with perl sparse bpf-clang -- go run ./internal/cmd/analyze driver/linux driver/samples/digest
//
// It fails if there is a finding that exceptions.txt does not argue away, or an
// exception that nothing needs any more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"kshm/internal/deps"
)

// A finding is what an analyzer says about a line.
type finding struct {
	analyzer string
	file     string // in the repository
	line     int
	text     string
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.file, f.line, f.analyzer, f.text)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, deps.ErrUnavailable) {
			os.Exit(3)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	flag.Parse()
	if flag.NArg() == 0 {
		return errors.New("analyze: name the folders of the modules")
	}
	exceptions, err := readExceptions(filepath.Join(deps.Repo(), "internal/cmd/analyze/exceptions.txt"))
	if err != nil {
		return err
	}
	found, err := analyze(ctx, flag.Args(), filepath.Join(deps.Repo(), "build/analyze"))
	if err != nil {
		return err
	}
	left, stale := exceptions.apply(found)
	fmt.Printf("testfull: operations=%d reports=%d\n", len(analyzers)*flag.NArg(), len(left))
	for _, f := range left {
		fmt.Println(f)
	}
	for _, e := range stale {
		fmt.Printf("exceptions.txt:%d: nothing needs this any more\n", e.line)
	}
	if len(left)+len(stale) > 0 {
		return fmt.Errorf("analyze: %d findings, %d stale exceptions", len(left), len(stale))
	}
	fmt.Printf("analyze: sparse, clang and Coccinelle find nothing in %s; %d exceptions\n", strings.Join(flag.Args(), ", "), len(exceptions))
	return nil
}

var analyzers = []func(*tree, context.Context, []string) ([]finding, error){(*tree).sparse, (*tree).clang, (*tree).coccinelle}

// analyze has every analyzer look at the modules in dirs.
func analyze(ctx context.Context, dirs []string, out string) ([]finding, error) {
	t := &tree{out: out}
	var all []finding
	for _, look := range analyzers {
		found, err := look(t, ctx, dirs)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}
