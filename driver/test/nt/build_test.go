// SPDX-License-Identifier: MIT

package nt

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	kit      = "../../windows"
	mydriver = "../../samples/mydriver/mydriver.c"
	include  = "../../include"
	loop     = "../../samples/loop"
	shim     = "shim"
)

// kitFiles are the files of the kit as it ships.
var kitFiles = []string{"control.c", "device.c", "end.c", "event.c", "limits.c", "pending.c",
	"ring.c", "rundown.c", "seam_nt.c", "security.c", "share.c", "work.c"}

// kitSources are the kit, the shim and its tests of the kit.
func kitSources(t *testing.T) []string {
	sources := glob(t, "*.c")
	for _, f := range kitFiles {
		sources = append(sources, filepath.Join(kit, f))
	}
	return sources
}

// recipeSources are mydriver, as much of the shim as is no test of the kit, and
// the tests of mydriver.
func recipeSources(t *testing.T) []string {
	return append(slices.Concat(glob(t, "nt_*.c"), glob(t, "sched.c"), glob(t, "explore.c"), glob(t, "recipe/*.c")), mydriver)
}

// loopSources are driver/samples/loop with the kit, the shim without its own
// driver, and the tests of loop.
func loopSources(t *testing.T) []string {
	sources := slices.Concat(glob(t, "nt_*.c"), glob(t, "sched.c"), glob(t, "program.c"), glob(t, "loop/*.c"))
	for _, f := range kitFiles {
		sources = append(sources, filepath.Join(kit, f))
	}
	return append(sources, loop+"/loop_windows.c", loop+"/source_windows.c")
}

// glob finds files of the shim.
func glob(t *testing.T, pattern string) []string {
	files, err := filepath.Glob(filepath.Join(shim, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s in the shim: %v", pattern, err)
	}
	return files
}

// A build is a folder of objects made with one set of sanitizers.
type build struct {
	cc      string
	flags   []string
	dir     string
	objects []string
}

// compiler is $CC, gcc or clang; without one there is nothing to test.
func compiler(t *testing.T) string {
	for _, name := range []string{os.Getenv("CC"), "gcc", "clang"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no C compiler: install gcc")
	}
	t.Skip("no C compiler: install gcc")
	return ""
}

// compile makes an object, which goes by the name of its source.
func (b *build) compile(source, object string) error {
	args := append(slices.Clone(b.flags), "-I"+filepath.Join(shim, "fake"), "-I"+kit, "-I"+include, "-c", source, "-o", object)
	if out, err := exec.Command(b.cc, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", source, err, out)
	}
	return nil
}

// newBuild compiles the sources. The kit's own headers choose their Windows
// half, because the compiler is told that this is not Linux.
func newBuild(t *testing.T, sources []string, sanitizers ...string) *build {
	t.Helper()
	b := &build{cc: compiler(t), dir: t.TempDir()}
	b.flags = append(strings.Fields("-std=gnu11 -g -O1 -fshort-wchar -U__linux__ -Wall -Wextra -Werror"), sanitizers...)
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	errs := make([]error, len(sources))
	for i, source := range sources {
		object := filepath.Join(b.dir, fmt.Sprintf("%s.%d.o", filepath.Base(source), i))
		b.objects = append(b.objects, object)
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = b.compile(source, object)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// link makes the program, with some objects in the place of others.
func (b *build) link(t *testing.T, name string, instead map[string]string) string {
	t.Helper()
	program := filepath.Join(b.dir, name)
	args := append(slices.Clone(b.flags), "-o", program)
	for _, object := range b.objects {
		if other, ok := instead[sourceOf(object)]; ok {
			object = other
		}
		args = append(args, object)
	}
	if out, err := exec.Command(b.cc, append(args, "-lpthread")...).CombinedOutput(); err != nil {
		t.Fatalf("link: %v\n%s", err, out)
	}
	return program
}

// sourceOf tells the name of the file that an object was made of.
func sourceOf(object string) string {
	name, _, _ := strings.Cut(filepath.Base(object), ".c.")
	return name + ".c"
}

// run runs one of the program's tests and returns all that it said.
func run(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "TSAN_OPTIONS=halt_on_error=1", "UBSAN_OPTIONS=print_stacktrace=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
