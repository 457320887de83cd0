// SPDX-License-Identifier: MIT

package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goPackage matches what a command gives to go test and go run.
var goPackage = regexp.MustCompile(`(?:^| )(\./[a-z0-9/]+)`)

// A pass is kept until an input changes, so the inputs have to hold all that is
// linked into a part's programs: else it passes with files that it never saw.
func TestInputsHoldWhatIsLinked(t *testing.T) {
	for _, p := range parts {
		if len(p.Inputs) == 0 {
			continue // depends on everything
		}
		for _, m := range goPackage.FindAllStringSubmatch(p.Command, -1) {
			if !slices.Contains(p.Packages, m[1]) {
				t.Errorf("%s: %s is in its command, and not in its packages", p.Name, m[1])
			}
		}
		for _, missing := range p.notHeld(linked(t, p.Packages)) {
			t.Errorf("%s: depends on %s, which is none of its inputs", p.Name, missing)
		}
	}
}

// notHeld lists the files that are none of the part's inputs.
func (p part) notHeld(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), p.dependsOn)
}

var linkedBy = make(map[string][]string)

// linked lists a file of each package of this module that the tests of the
// given ones are built from, and what says which version of others is.
func linked(t *testing.T, packages []string) []string {
	t.Helper()
	key := strings.Join(packages, " ")
	if files, ok := linkedBy[key]; ok {
		return files
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append([]string{"list", "-deps", "-test", "-tags", "kernel", "-f",
		`{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}`}, packages...)...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", key, err)
	}
	files := []string{"go.mod", "go.sum", "Makefile"}
	for _, dir := range strings.Fields(string(out)) {
		rel, err := filepath.Rel(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.ToSlash(filepath.Join(rel, "x.go")))
	}
	slices.Sort(files)
	linkedBy[key] = slices.Compact(files)
	return linkedBy[key]
}

// What the tests of the modules link must be missed where it is left out.
func TestMissingInputsAreSeen(t *testing.T) {
	whole := part{sources: kernelTests}
	files := linked(t, whole.Packages)
	for _, in := range []string{".", "ring", "kshmtest", "internal/sys", "internal/abi", "internal/vm"} {
		p := whole
		p.Inputs = slices.DeleteFunc(slices.Clone(whole.Inputs), func(s string) bool { return s == in })
		if len(p.notHeld(files)) == 0 {
			t.Errorf("nobody notices that %s is missing", in)
		}
	}
}
