// SPDX-License-Identifier: MIT

package policy

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeShowsTheExample holds the program in the README to the one that
// compiles and runs.
func TestReadmeShowsTheExample(t *testing.T) {
	program, err := os.ReadFile("../../examples/hello/main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(program), "\nfunc main() {\n")
	body, _, ended := strings.Cut(rest, "\n}\n")
	if !found || !ended {
		t.Fatal("examples/hello has no main")
	}
	if want := "```go\nfunc main() {\n" + body + "\n}\n```\n"; !strings.Contains(string(readme), want) {
		t.Errorf("README.md does not show main of examples/hello:\n%s", want)
	}
}
