// SPDX-License-Identifier: MIT

package nt

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var full = flag.Bool("full", false, "every meeting at every pair of points, and storms of a million operations")

var (
	address = []string{"-fsanitize=address,undefined", "-fno-sanitize-recover=all"}
	thread  = []string{"-fsanitize=thread"}
)

// length chooses between the long form of an argument and the short one.
func length(long, short string) string {
	if *full {
		return long
	}
	return short
}

// pass runs a test of the shim that must find nothing.
func pass(t *testing.T, program string, args ...string) {
	t.Run(args[0], func(t *testing.T) {
		out, err := run(program, args...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Log(strings.TrimSpace(out))
	})
}

func TestAddress(t *testing.T) {
	t.Parallel()
	program := newBuild(t, kitSources(t), address...).link(t, "nt", nil)
	pass(t, program, "cases", "cases.txt")
	pass(t, program, "codes")
	pass(t, program, "rings")
	pass(t, program, "bounds")
	pass(t, program, "fail")
	pass(t, program, "meet", "2", length("1", "29"))
	pass(t, program, "storm", length("1000000", "60000"), "8")
}

func TestThread(t *testing.T) {
	t.Parallel()
	program := newBuild(t, kitSources(t), thread...).link(t, "nt", nil)
	pass(t, program, "codes")
	pass(t, program, "rings")
	pass(t, program, "bounds")
	pass(t, program, "fail")
	pass(t, program, "storm", length("1000000", "40000"), "8")
}

// TestRecipe runs driver/samples/mydriver, which does without the kit.
func TestRecipe(t *testing.T) {
	t.Parallel()
	program := newBuild(t, recipeSources(t), address...).link(t, "recipe", nil)
	pass(t, program, "codes")
	pass(t, program, "fail")
	pass(t, program, "meet", "2", length("1", "11"))
	pass(t, program, "storm", length("1000000", "60000"), "8")
	program = newBuild(t, recipeSources(t), thread...).link(t, "recipe", nil)
	pass(t, program, "codes")
	pass(t, program, "fail")
	pass(t, program, "storm", length("1000000", "40000"), "8")
}

// TestLoop runs driver/samples/loop: echo, and sources on several processors.
func TestLoop(t *testing.T) {
	t.Parallel()
	for _, sanitizers := range [][]string{address, thread} {
		program := newBuild(t, loopSources(t), sanitizers...).link(t, "loop", nil)
		pass(t, program, "sources", length("100000", "5000"))
	}
}

// TestSeeds puts known bugs into a copy of the kit and of mydriver: each must be
// found, by name.
func TestSeeds(t *testing.T) {
	t.Parallel()
	ofKit, ofRecipe := newBuild(t, kitSources(t), address...), newBuild(t, recipeSources(t), address...)
	for _, s := range readSeeds(t) {
		t.Run(s.title(), func(t *testing.T) {
			b := ofKit
			if s.file == filepath.Base(mydriver) {
				b = ofRecipe
			}
			program := s.plant(t, b)
			out, err := run(program, s.args...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("%s found nothing: %v\n%s", strings.Join(s.args, " "), err, out)
			}
			if !s.named(out) {
				t.Errorf("found under another name than %q:\n%s", s.names, out)
			}
		})
	}
}

// A seed is one entry of seeds.txt.
type seed struct {
	names    []string
	file     string
	args     []string
	old, new string
}

func (s seed) title() string { return s.names[0] + " in " + s.file }

func (s seed) named(out string) bool {
	for _, name := range s.names {
		if strings.Contains(out, "nt: BUG: "+name+":") || name == "AddressSanitizer" && strings.Contains(out, name) {
			return true
		}
	}
	return false
}

// path is where the file is.
func (s seed) path() string {
	if s.file == filepath.Base(mydriver) {
		return mydriver
	}
	return filepath.Join(kit, s.file)
}

// plant builds the program with the bug in it.
func (s seed) plant(t *testing.T, b *build) string {
	text, err := os.ReadFile(s.path())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), s.old); n != 1 {
		t.Fatalf("%s has %d places like\n%s\nwhich must be one: the kit has changed, so must seeds.txt", s.file, n, s.old)
	}
	dir := t.TempDir()
	source, object := filepath.Join(dir, s.file), filepath.Join(dir, "seed.o")
	if err := os.WriteFile(source, []byte(strings.Replace(string(text), s.old, s.new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	planted := *b
	planted.flags = append(slices.Clone(b.flags), "-Wno-error", "-Wno-unused", "-I"+filepath.Dir(s.path()))
	if err := planted.compile(source, object); err != nil {
		t.Fatal(err)
	}
	return b.link(t, "seed", map[string]string{s.file: object})
}

func readSeeds(t *testing.T) []seed {
	text, err := os.ReadFile("seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	var seeds []seed
	for _, line := range strings.Split(string(text), "\n") {
		var s *seed
		if n := len(seeds); n > 0 {
			s = &seeds[n-1]
		}
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "seed "):
			seeds = append(seeds, seed{names: strings.Split(line[len("seed "):], "|")})
		case strings.HasPrefix(line, "file "):
			s.file = line[len("file "):]
		case strings.HasPrefix(line, "run "):
			s.args = strings.Fields(line[len("run "):])
			if s.args[0] == "cases" {
				s.args = append(s.args, "cases.txt")
			}
		case line[0] == '-':
			s.old += line[1:] + "\n"
		case line[0] == '+':
			s.new += line[1:] + "\n"
		default:
			t.Fatalf("seeds.txt: %q", line)
		}
	}
	if len(seeds) == 0 {
		t.Fatal("seeds.txt is empty")
	}
	return seeds
}

// TestEveryCode holds the table of wrong arguments to the codes there are.
func TestEveryCode(t *testing.T) {
	header, err := os.ReadFile("../../include/kshm.h")
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("shim/codes.c")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`#define (KSHM_CTL_[A-Z_]+)[ \\]`).FindAllSubmatch(header, -1)
	if len(codes) != 8 {
		t.Fatalf("kshm.h has %d codes, not 8", len(codes))
	}
	for _, c := range codes {
		if !strings.Contains(string(table), string(c[1])+",") && !strings.Contains(string(table), string(c[1])+"}") {
			t.Errorf("codes.c does not try %s", c[1])
		}
	}
}

// wraps are the functions of the shim that stand for an import of another name,
// or for something that is inlined into a driver.
var wraps = map[string]string{
	"IoCompleteRequest":            "IofCompleteRequest",
	"KeAcquireSpinLock":            "KeAcquireSpinLockRaiseToDpc",
	"ObDereferenceObject":          "ObfDereferenceObject",
	"MmGetSystemAddressForMdlSafe": "MmMapLockedPagesSpecifyCache",
	"KeInitializeSpinLock":         "",
	"KeGetCurrentIrql":             "",
	"IoMarkIrpPending":             "",
	"IoGetCurrentIrpStackLocation": "",
	"IoSetCancelRoutine":           "",
}

// TestNoLarger holds the shim to what the built drivers import: a call that the
// shim knows and no driver makes would be a part of Windows invented here.
func TestNoLarger(t *testing.T) {
	list, err := os.ReadFile("../../windows/imports.txt")
	if err != nil {
		t.Fatal(err)
	}
	header, err := os.ReadFile("shim/fake/ntddk.h")
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string]bool{"": true}
	for _, word := range strings.Fields(string(list)) {
		imports[word] = true
	}
	header = regexp.MustCompile(`(?m)^#define.*$`).ReplaceAll(header, nil)
	calls := regexp.MustCompile(`\b(?:Io|Ke|Ex|Mm|Ob|Ps|Rtl|Se|Zw)[A-Z][A-Za-z0-9]+\(`).FindAllString(string(header), -1)
	if len(calls) < 30 {
		t.Fatalf("only %d functions found in the shim's header", len(calls))
	}
	for _, call := range calls {
		name := strings.TrimSuffix(call, "(")
		if as, ok := wraps[name]; ok {
			name = as
		}
		if !imports[name] {
			t.Errorf("the shim has %s), which no driver imports", call)
		}
	}
}
