// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPartsAreWellFormed(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range parts {
		if p.Name == "" || seen[p.Name] || strings.ContainsAny(p.Name, " \t") {
			t.Errorf("%q: a name is one word, and nobody else's", p.Name)
		}
		seen[p.Name] = true
		if p.Limit <= 0 || p.Limit > time.Hour {
			t.Errorf("%s: limit %v", p.Name, p.Limit)
		}
		if p.Command == "" {
			t.Errorf("%s: no command", p.Name)
		}
		for _, in := range p.Inputs {
			if _, err := os.Stat(filepath.Join("../../..", in)); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
		}
	}
}

// says matches commands that tell what they did: tests that go test -v lists,
// and programs that print a line for it.
var says = regexp.MustCompile(`go test [^\n]*-v |build/storm|go run ./proof|go run ./internal/cmd/analyze|testfull: operations`)

// A part that says nothing can only fail.
func TestPartsSayWhatTheyDid(t *testing.T) {
	for _, p := range parts {
		command := p.Command
		if strings.HasPrefix(command, mk) {
			// A dry run is none where make calls itself: it would fetch Wine.
			command = strings.Replace(command, "test-windows", "in-wine", 1)
			dry := exec.Command("sh", "-c", strings.Replace(command, "make", "make --dry-run", 1))
			dry.Dir = "../../.."
			out, err := dry.Output()
			if err != nil {
				t.Fatalf("%s: %v", command, err)
			}
			command = string(out)
		}
		if !says.MatchString(command) {
			t.Errorf("%s: nothing that it runs says what it did:\n%s", p.Name, command)
		}
	}
}

func runPart(t *testing.T, p part) row {
	t.Helper()
	p.Name = "part"
	if p.Limit == 0 {
		p.Limit = time.Minute
	}
	return p.run(context.Background(), t.TempDir(), "inputs")
}

func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		p       part
		verdict string
		detail  string
	}{
		"passes":        {part{Command: "echo testfull: operations=1 reports=0 leaks=0"}, pass, ""},
		"go tests":      {part{Command: "echo '--- PASS: TestX (0.00s)'"}, pass, ""},
		"fails":         {part{Command: "echo testfull: operations=1; exit 3"}, failed, "exit status 3"},
		"says a report": {part{Command: "echo testfull: operations=1 reports=1"}, failed, "wrong"},
		"says a leak":   {part{Command: "echo testfull: operations=1 leaks=1"}, failed, "wrong"},
		"does nothing":  {part{Command: "true"}, failed, "nothing"},
		"lacks a tool":  {part{Command: "echo NOT RUN: x: no y"}, notRun, "no y"},
		"takes long":    {part{Command: "sleep 100 & sleep 100", Limit: 50 * time.Millisecond}, failed, "longer than 50ms"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runPart(t, c.p)
			if r.Verdict != c.verdict || !strings.Contains(r.Detail, c.detail) {
				t.Errorf("got %q, %q", r.Verdict, r.Detail)
			}
		})
	}
}

func TestNumbersAddUp(t *testing.T) {
	r := runPart(t, part{Command: "echo testfull: operations=3 kills=5; echo x; echo '    storm_test.go:7: testfull: operations=4 kills=1 reports=0' >&2"})
	if r.Operations != 7 || r.More["kills"] != 6 || r.Verdict != pass {
		t.Errorf("got %+v", r)
	}
}

func TestSkipsAreCounted(t *testing.T) {
	r := runPart(t, part{Command: "echo '--- PASS: TestX (0.00s)'; echo '    --- SKIP: TestY/z (0.00s)'"})
	if r.Operations != 1 || r.More["skipped"] != 1 || r.Verdict != pass {
		t.Errorf("got %+v", r)
	}
}

func TestBook(t *testing.T) {
	b := &book{path: filepath.Join(t.TempDir(), "build", "test-full.json")}
	for _, r := range []row{
		{Part: "a", Verdict: pass, Inputs: "1", Operations: 4}, {Part: "b", Verdict: failed, Inputs: "1"}, {Part: "a", Verdict: pass, Inputs: "2"},
	} {
		if err := b.add(r); err != nil {
			t.Fatal(err)
		}
	}
	other := &book{path: b.path}
	if err := other.read(); err != nil {
		t.Fatal(err)
	}
	if len(other.Rows) != 2 || other.passed("a", "1") || !other.passed("a", "2") || other.passed("b", "1") {
		t.Errorf("got %+v", other.Rows)
	}
	var raw struct{ Rows []map[string]any }
	text, err := os.ReadFile(b.path)
	if err == nil {
		err = json.Unmarshal(text, &raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"part", "kernel", "operations", "reports", "leaks", "verdict"} {
		if _, ok := raw.Rows[0][field]; !ok {
			t.Errorf("a row has no %q", field)
		}
	}
}

// However many fuzzers there are, their part ends within its hour.
func TestFuzzersShareTheirTime(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	i := slices.IndexFunc(parts, func(p part) bool { return p.Name == "fuzz" })
	cmd := exec.Command("sh", "-c", strings.Replace(parts[i].Command, "make ", "make --dry-run ", 1))
	cmd.Dir = "../../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var sum time.Duration
	for _, m := range regexp.MustCompile(`-fuzztime (\S+)`).FindAllStringSubmatch(string(out), -1) {
		d, err := time.ParseDuration(m[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += d
	}
	if sum == 0 || sum > parts[i].Limit*3/4 {
		t.Errorf("they take %v, of %v", sum, parts[i].Limit)
	}
}

// A part depends on what it names, or on everything, and on itself.
func TestInputs(t *testing.T) {
	some, all := part{Name: "x", sources: sources{Inputs: []string{"driver"}}}, part{Name: "x"}
	before := tree{"driver/a.c": "1", "ring/b.go": "1"}
	after := tree{"driver/a.c": "1", "ring/b.go": "2"}
	if some.inputs(before) != some.inputs(after) {
		t.Error("a file that a part does not depend on makes it run again")
	}
	if all.inputs(before) == all.inputs(after) {
		t.Error("a changed file does not make the part run again")
	}
	changed := all
	changed.Command = "y"
	if all.inputs(before) == changed.inputs(before) {
		t.Error("a changed command does not make the part run again")
	}
}
