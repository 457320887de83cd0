// SPDX-License-Identifier: MIT

package policy

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport says, for each folder, which packages of the project its code may
// import. A folder that is missing takes the line of the folder above it.
// Imports point down: whoever adds a line keeps it so.
var mayImport = map[string][]string{
	"internal/abi":         {},
	"internal/sys":         {"internal/abi"},
	".":                    {"ring", "internal/sys", "internal/abi"},
	"ring":                 {"internal/abi"},
	"bpf":                  {".", "ring", "internal/sys", "internal/abi"},
	"kshmtest":             {".", "ring", "internal/sys", "internal/abi"},
	"examples":             {".", "ring", "bpf", "kshmtest"},
	"internal/policy":      {},
	"internal/deps":        {},
	"internal/vm":          {"internal/deps", "internal/vm/wire"},
	"internal/vm/wire":     {},
	"internal/vm/guest":    {"internal/vm/wire"},
	"internal/bench":       {".", "ring", "bpf", "kshmtest", "internal/sys", "internal/abi", "internal/vm", "internal/deps", "internal/bench"},
	"internal/pe":          {},
	"internal/driverbuild": {"internal/deps", "internal/pe"},
	"internal/wine":        {"internal/deps"},
	"internal/cmd":         {"internal/deps", "internal/driverbuild", "internal/pe", "internal/vm", "internal/wine", "internal/bench"},
	"driver/test":          {".", "ring", "kshmtest", "internal/sys", "internal/abi", "driver/test"},
	"cmd/kshm":             {".", "ring", "bpf", "kshmtest", "cmd/kshm", "internal/bench", "internal/vm", "internal/deps", "internal/sys", "internal/abi"},
}

// A moduleRule says where a module from elsewhere may be imported.
type moduleRule struct {
	module string
	places []string
	tests  bool // in any test too
}

var moduleRules = []moduleRule{
	{"golang.org/x/sys", []string{"internal/sys", "internal/vm", "cmd", "driver/test"}, true},
	{"golang.org/x/term", []string{"cmd"}, false},
	{"github.com/cilium/ebpf", []string{"bpf", "internal/bench", "examples/bpf"}, true},
	{"github.com/spf13/cobra", []string{"cmd"}, false},
	{"github.com/dustin/go-humanize", []string{"cmd"}, false},
	{"github.com/schollz/progressbar/v3", []string{"cmd"}, false},
	{"github.com/u-root/u-root", []string{"internal/vm"}, false},
	{"gonum.org/v1/plot", []string{"internal/bench"}, false},
	{"gopkg.in/yaml.v3", []string{"internal/policy"}, true},
	{"github.com/ulikunitz/xz", []string{"internal/vm", "internal/deps"}, false},
}

func eachImport(t *testing.T, check func(f goFile, path, where string)) {
	for _, f := range goFiles(t) {
		for _, spec := range f.ast.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			check(f, path, line(spec.Pos()))
		}
	}
}

func allowedImports(dir string) (list []string, known bool) {
	for ; ; dir = dir[:strings.LastIndex(dir, "/")] {
		if list, ok := mayImport[dir]; ok {
			return list, true
		}
		if !strings.Contains(dir, "/") {
			return nil, false
		}
	}
}

// within reports whether a package is one of the list or lies below one of it.
func within(pkg string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		return pkg == p || p != "." && strings.HasPrefix(pkg, p+"/")
	})
}

func TestImportsPointDown(t *testing.T) {
	eachImport(t, func(f goFile, path, where string) {
		pkg, ours := strings.CutPrefix(path, "kshm/")
		if path == "kshm" {
			pkg, ours = ".", true
		}
		if !ours || f.isTest() {
			return // a test may use whatever shows the behaviour
		}
		list, known := allowedImports(f.dir())
		if !known {
			t.Errorf("%s: %s has no line in mayImport: add one to %s", where, f.dir(), "internal/policy")
		} else if !within(pkg, list) {
			t.Errorf("%s: %s may not import %s; move what is needed down, or change mayImport with a reason", where, f.dir(), path)
		}
	})
}

func TestModulesStayWhereTheyBelong(t *testing.T) {
	eachImport(t, func(f goFile, path, where string) {
		first, _, _ := strings.Cut(path, "/")
		if !strings.Contains(first, ".") {
			return // the standard library, or the project
		}
		i := slices.IndexFunc(moduleRules, func(r moduleRule) bool {
			return path == r.module || strings.HasPrefix(path, r.module+"/")
		})
		if i < 0 {
			t.Errorf("%s: %s is a new dependency: say in moduleRules where it may be used", where, path)
		} else if r := moduleRules[i]; !f.under(r.places...) && !(r.tests && f.isTest()) {
			t.Errorf("%s: %s may be imported only in %s", where, path, strings.Join(r.places, ", "))
		}
	})
}

// unsafePlaces may import unsafe, besides files called *_unsafe.go.
var unsafePlaces = []string{
	"internal/sys",
	"internal/abi/abi.go", // sizes, asserted at compile time
	"internal/vm/guest",   // the first process of a machine: raw system calls
	"driver/test",         // hostile system calls
}

func TestUnsafeStaysWhereItBelongs(t *testing.T) {
	eachImport(t, func(f goFile, path, where string) {
		if path != "unsafe" || f.under(unsafePlaces...) || f.hasSuffix("_unsafe.go", "_unsafe_test.go") {
			return
		}
		t.Errorf("%s: unsafe code belongs in internal/sys or in a file called *_unsafe.go", where)
	})
}

// libraries are what a user's program imports.
var libraries = []string{".", "ring", "bpf", "kshmtest", "internal/sys", "internal/abi"}

func isLibrary(f goFile) bool {
	return slices.Contains(libraries, f.dir()) && !f.isTest() && f.ast.Name.Name != "main"
}

func TestLibrariesDoNotLog(t *testing.T) {
	eachImport(t, func(f goFile, path, where string) {
		if isLibrary(f) && (path == "log" || strings.HasPrefix(path, "log/")) {
			t.Errorf("%s: a library returns errors, it does not log", where)
		}
	})
}
