// SPDX-License-Identifier: MIT

package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kshm/internal/deps"
)

var seeded = flag.Bool("seeded", false, "have the analyzers look at a module with seeded bugs, minutes long")

// Each analyzer finds the bug that was put there for it.
func TestSeededBugs(t *testing.T) {
	if !*seeded {
		t.Skip("without -seeded")
	}
	found, err := analyze(t.Context(), []string{filepath.Join(deps.Repo(), "driver/test/linux/analyzed")}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		analyzer string
		line     int
	}{{"sparse", 14}, {"clang", 24}, {"coccinelle kfree", 31}} {
		if !slices.ContainsFunc(found, func(f finding) bool { return f.analyzer == want.analyzer && f.line == want.line }) {
			t.Errorf("%s does not find the bug in line %d; found: %v", want.analyzer, want.line, found)
		}
	}
}

func TestExceptions(t *testing.T) {
	name := filepath.Join(t.TempDir(), "exceptions.txt")
	text := "# for readers\nclang | a.c | null pointer | it is checked in b.c\nsparse | a.c | lock | stale\n"
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := readExceptions(name)
	if err != nil {
		t.Fatal(err)
	}
	argued := finding{"clang", "a.c", 3, "warning: Access through a null pointer"}
	other := finding{"clang", "b.c", 3, argued.text}
	left, stale := all.apply([]finding{argued, other})
	if !slices.Equal(left, []finding{other}) {
		t.Errorf("left: %v", left)
	}
	if len(stale) != 1 || stale[0].line != 3 {
		t.Errorf("stale: %v", stale)
	}
	if err := os.WriteFile(name, []byte("clang | a.c | text |\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readExceptions(name); err == nil {
		t.Error("an exception without a reason is accepted")
	}
}

func TestFindings(t *testing.T) {
	tr := &tree{out: "/out"}
	out := "  CC [M]  x\n/out/src/driver/linux/../include/kshm.h:7:2: error: bad\n/out/src/driver/linux/pin.c:12:8-9: ERROR: worse\n" +
		"/out/src/driver/linux/pin.c:12:8: note: because\n/usr/include/x.h:1:1: warning: not ours\n" +
		"/deps/usr/src/linux-headers-6.12-common/include/linux/mm.h:3:1: warning: seen there\n"
	want := []finding{{"a", "driver/include/kshm.h", 7, "error: bad"}, {"a", "driver/linux/pin.c", 12, "ERROR: worse"},
		{"a", "kernel/include/linux/mm.h", 3, "warning: seen there"}}
	if got := tr.findings("a", []byte(out)); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestSplitWords(t *testing.T) {
	got := splitWords(` gcc -DNAME='"pin"'  -I./x  a.c `)
	if want := []string{"gcc", `-DNAME="pin"`, "-I./x", "a.c"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
