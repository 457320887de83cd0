// SPDX-License-Identifier: MIT

package policy

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// A workflow is as much of a forge's file as is checked. What a forge runs
// cannot be run here; that it names only what there is can be seen.
type workflow struct {
	On struct {
		Push struct{ Paths []string }
	}
	Jobs map[string]struct {
		Container any
		Steps     []struct{ Run, Uses string }
	}
}

func TestWorkflowsNameWhatThereIs(t *testing.T) {
	found := 0
	for _, f := range allFiles(t) {
		if !strings.HasPrefix(f.name, ".github/workflows/") {
			continue
		}
		found++
		var w workflow
		if err := yaml.Unmarshal([]byte(f.text), &w); err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if len(w.Jobs) == 0 {
			t.Errorf("%s has no jobs", f.name)
		}
		for _, p := range w.On.Push.Paths {
			if dir, _, _ := strings.Cut(p, "*"); dir != "" && !exists(t, dir) {
				t.Errorf("%s: there is no %s", f.name, p)
			}
		}
		for name, job := range w.Jobs {
			if len(job.Steps) == 0 {
				t.Errorf("%s: job %s has no steps", f.name, name)
			}
			var checkedOut, trusted bool
			for _, s := range job.Steps {
				checkStep(t, f.name, s.Run, s.Uses)
				checkedOut = checkedOut || strings.HasPrefix(s.Uses, "actions/checkout@")
				trusted = trusted || checkedOut && strings.Contains(s.Run, "safe.directory")
			}
			if job.Container != nil && checkedOut && !trusted {
				t.Errorf("%s: job %s: git does not work in a container on what another user has checked out, unless it is a safe.directory", f.name, name)
			}
		}
	}
	if found == 0 {
		t.Error("no workflow was found")
	}
}

var (
	action     = regexp.MustCompile(`^[\w-]+/[\w-]+@v\d+$`)
	makeTarget = regexp.MustCompile(`\bmake ([\w-]+)`)
	scriptPath = regexp.MustCompile(`[\w./-]+\.(?:ps1|sh|go)\b`)
)

func checkStep(t *testing.T, path, run, uses string) {
	t.Helper()
	if (run == "") == (uses == "") {
		t.Errorf("%s: a step has to run something or use an action", path)
	}
	if uses != "" && !action.MatchString(uses) && !strings.HasPrefix(uses, "./") {
		t.Errorf("%s: %q is no action with its version", path, uses)
	}
	for _, m := range makeTarget.FindAllStringSubmatch(strings.ReplaceAll(run, "install -y", ""), -1) {
		if !strings.Contains(fileText(t, "Makefile"), "\n"+m[1]+":") && !strings.Contains(run, "apt-get") {
			t.Errorf("%s: the Makefile has no target %s", path, m[1])
		}
	}
	for _, p := range scriptPath.FindAllString(run, -1) {
		if !exists(t, strings.TrimPrefix(p, "./")) {
			t.Errorf("%s: there is no %s", path, p)
		}
	}
}

// TestPowerShellStrings looks for what PowerShell takes for the drive or scope
// of a variable: "$name:" does not parse, "${name}:" does.
func TestPowerShellStrings(t *testing.T) {
	quoted := regexp.MustCompile(`"[^"\n]*"`)
	scoped := regexp.MustCompile(`\$(\w+):`)
	found := 0
	for _, f := range allFiles(t) {
		if !strings.HasSuffix(f.name, ".ps1") {
			continue
		}
		for _, text := range quoted.FindAllString(f.text, -1) {
			found++
			for _, m := range scoped.FindAllStringSubmatch(text, -1) {
				if !slices.Contains([]string{"env", "global", "script", "local", "using", "private"}, m[1]) {
					t.Errorf("%s: %s: write ${%s}:", f.name, text, m[1])
				}
			}
		}
	}
	if found == 0 {
		t.Error("no string was found")
	}
}

// The checklist for Windows names files that a make target makes, verbs of
// kshm and tests.
func TestChecklistNamesWhatThereIs(t *testing.T) {
	list := fileText(t, "driver/test/windows/checklist.ps1")
	made := fileText(t, "Makefile") + fileText(t, "internal/driverbuild/sign.go")
	for _, d := range regexp.MustCompile(`Name: "(\w+)"`).FindAllStringSubmatch(fileText(t, "internal/driverbuild/build.go"), -1) {
		made += " " + d[1] + ".sys"
	}
	names := regexp.MustCompile(`[\w.]+\.(?:exe|sys|cer)\b`).FindAllString(list, -1)
	if len(names) < 8 {
		t.Fatalf("only %d files found", len(names))
	}
	for _, name := range names {
		if name != "verifier.exe" && !strings.Contains(made, name) {
			t.Errorf("nothing makes %s", name)
		}
	}
	var tests strings.Builder
	for _, f := range allFiles(t) {
		if strings.HasPrefix(f.name, "driver/test/windows/") && strings.HasSuffix(f.name, "_test.go") {
			tests.WriteString(f.text)
		}
	}
	runs := regexp.MustCompile(`-test\.run=\^(\w+)\$`).FindAllStringSubmatch(list, -1)
	if len(runs) == 0 {
		t.Error("no -test.run found")
	}
	for _, m := range runs {
		if !strings.Contains(tests.String(), "func "+m[1]+"(t *testing.T)") {
			t.Errorf("there is no test %s", m[1])
		}
	}
	verbs := fileText(t, "cmd/kshm/driver.go") + fileText(t, "cmd/kshm/info.go")
	for _, verb := range []string{"install NAME PATH", "start NAME", "stop NAME", "remove NAME", "info [NAME]"} {
		word, _, _ := strings.Cut(verb, " ")
		if !strings.Contains(list, word) || !strings.Contains(verbs, `"`+verb+`"`) {
			t.Errorf("kshm %s: not in the checklist, or no verb of kshm", verb)
		}
	}
}

func fileText(t *testing.T, path string) string {
	t.Helper()
	for _, f := range allFiles(t) {
		if f.name == path {
			return f.text
		}
	}
	t.Fatalf("there is no %s", path)
	return ""
}

// exists tells whether the path is one of the tree's files, or a folder of some.
func exists(t *testing.T, path string) bool {
	t.Helper()
	for _, f := range allFiles(t) {
		if f.name == path || strings.HasPrefix(f.name, strings.TrimSuffix(path, "/")+"/") {
			return true
		}
	}
	return false
}
