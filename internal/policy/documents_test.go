// SPDX-License-Identifier: MIT

package policy

import (
	"go/ast"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link       = regexp.MustCompile(`\[([^\]\[]+)\]\(([^)\s]+)\)`)
	fenced     = regexp.MustCompile("(?s)```.*?```")
	identifier = regexp.MustCompile(`^[A-Za-z_]\w*$`)
)

// isName reports whether the text of a link is a name that the target has to
// have: an identifier, a clause of the contract or a case of order; not the
// name of the file or of a folder that it is in.
func isName(text, target string) bool {
	if path.Ext(target) == ".md" || slices.Contains(strings.Split(target, "/"), text) {
		return false
	}
	return identifier.MatchString(text) || strings.HasSuffix(target, ".txt") ||
		strings.HasSuffix(target, "/conformance.go") && strings.Contains(text, "/")
}

// TestDocumentsNameWhatExists follows every link of every document to a file of
// the repository.
func TestDocumentsNameWhatExists(t *testing.T) {
	names := 0
	for _, f := range allFiles(t) {
		if path.Ext(f.name) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(f.text, ""), -1) {
			text, target := strings.Trim(m[1], "`"), m[2]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "#") {
				continue
			}
			target, _, _ = strings.Cut(path.Join(f.dir(), target), "#")
			if _, err := os.Stat("../../" + target); err != nil {
				t.Errorf("%s: there is no %s", f.name, target)
			} else if isName(text, target) {
				names++
				if !hasName(t, target, text) {
					t.Errorf("%s: there is no %q in %s", f.name, text, target)
				}
			}
		}
	}
	if names < 50 {
		t.Errorf("documents name only %d things: does this test still see them?", names)
	}
}

// hasName reports whether a file defines or, in a list of cases, has a name.
func hasName(t *testing.T, target, name string) bool {
	if path.Ext(target) == ".go" && !strings.Contains(name, "/") {
		return declares(t, target, name)
	}
	for _, f := range allFiles(t) {
		switch {
		case f.name != target && !(f.dir() == target):
		case strings.HasSuffix(target, ".txt"):
			if strings.Contains("\n"+f.text, "\n"+name+"\n") {
				return true
			}
		case strings.Contains(name, "/"):
			return strings.Contains(f.text, `"`+name+`"`)
		case regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(f.text):
			return true
		}
	}
	return false
}

// declares reports whether a Go file declares a function, type or variable.
func declares(t *testing.T, target, name string) bool {
	for _, f := range goFiles(t) {
		if f.name != target {
			continue
		}
		if f.ast.Name.Name == name {
			return true
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == name {
					return true
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok && s.Name.Name == name {
						return true
					}
				}
			}
		}
	}
	return false
}
