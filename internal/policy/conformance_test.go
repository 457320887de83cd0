// SPDX-License-Identifier: MIT

package policy

import (
	"go/ast"
	"path"
	"regexp"
	"strings"
	"testing"
)

const kernelTests = "driver/test/linux"

// looksWhatIsLeft are the ways in which a test comes to atRest.
var looksWhatIsLeft = regexp.MustCompile(`\b(atRest|open|rawOpen|goneShares)\(t\b`)

// exempt say for themselves what they leave behind, and why not with atRest.
var exempt = map[string]string{
	"TestFaults":                    "compares after every call, on a thread with another user",
	"TestOpenErrors":                "shares nothing",
	"TestCallsAreCounted":           "shares nothing",
	"TestNoSystemCallInSteadyState": "its parts open the device",
}

// Every test in a kernel looks at its end whether anything is left behind.
func TestEveryTestLooksWhatIsLeft(t *testing.T) {
	seen := 0
	for _, f := range goFiles(t) {
		if f.dir() != kernelTests {
			continue
		}
		for _, d := range f.ast.Decls {
			test, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(test.Name.Name, "Test") || test.Name.Name == "TestMain" {
				continue
			}
			seen++
			if exempt[test.Name.Name] == "" && !looksWhatIsLeft.MatchString(textOf(f, d)) {
				t.Errorf("%s: %s does not call atRest", line(test.Pos()), test.Name.Name)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d tests in %s: does this test still see them?", seen, kernelTests)
	}
}

var tableRow = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)

// Every row of the conformance table names a test, by a link that
// TestDocumentsNameWhatExists follows, or says what runs it.
func TestConformanceTableNamesTests(t *testing.T) {
	rows := 0
	for _, f := range allFiles(t) {
		if f.name != path.Join("docs", "conformance.md") {
			continue
		}
		for _, m := range tableRow.FindAllStringSubmatch(f.text, -1) {
			if m[1] == "row" || strings.HasPrefix(m[1], "-") {
				continue
			}
			rows++
			if tests := link.FindAllStringSubmatch(m[2], -1); len(tests) == 0 && !strings.HasPrefix(m[1], "a 386 program") {
				t.Errorf("row %q names no test", m[1])
			} else {
				for _, l := range tests {
					if !strings.HasPrefix(l[1], "Test") || !strings.HasPrefix(l[2], "../"+kernelTests+"/") {
						t.Errorf("row %q names %s, which is no test of %s", m[1], l[1], kernelTests)
					}
				}
			}
		}
	}
	if rows < 25 {
		t.Errorf("only %d rows: does this test still see them?", rows)
	}
}
