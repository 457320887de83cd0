// SPDX-License-Identifier: MIT

package deps

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryBuiltKernelIsDescribed(t *testing.T) {
	for _, k := range BuiltKernels() {
		if _, ok := Lookup(k.Source.Name); !ok {
			t.Errorf("%s: no component is called %q", k.Name, k.Source.Name)
		}
		if _, ok := Lookup(k.Name); ok {
			t.Errorf("%s is a component too", k.Name)
		}
		text, err := k.fragment()
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]string)
		for line := range strings.Lines(text) {
			name, value, ok := configLine(line)
			if !ok && strings.Contains(line, "CONFIG_") {
				t.Errorf("%s: a line sets nothing: %q", k.Name, line)
			}
			if old, twice := seen[name]; ok && twice {
				t.Errorf("%s: %s is set twice, to %s and %s", k.Name, name, old, value)
			}
			seen[name] = value
		}
	}
}

func TestDigestOfKernelKnowsItsConfig(t *testing.T) {
	debug, _ := LookupKernel("debug-6.12")
	other := debug
	other.Config = []string{"guest.config"}
	a, err := debug.digest()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := other.digest(); err != nil || a == b {
		t.Errorf("another configuration has the same digest, %v", err)
	}
	other.Config = []string{"missing.config"}
	if _, err := other.digest(); err == nil {
		t.Error("a missing fragment goes unnoticed")
	}
}

// A build that was cut short goes on, unless it would be of something else now.
func TestWorkFolder(t *testing.T) {
	k, _ := LookupKernel("debug-6.12")
	root := t.TempDir()
	stale := filepath.Join(root, ".debug-6.12.work-0123456789ab")
	other := filepath.Join(root, ".kcsan-6.12.work-0123456789ab")
	for _, dir := range []string{stale, other} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	first, err := workFolder(root, k)
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(first, "object")
	if err := os.WriteFile(object, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := workFolder(root, k); err != nil || again != first {
		t.Errorf("%s, %v; want %s again", again, err, first)
	}
	for name, want := range map[string]bool{object: true, other: true, stale: false} {
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s: %v; want it to be there: %v", name, err, want)
		}
	}
}

func TestMergeConfig(t *testing.T) {
	base := "# title\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\nCONFIG_AB=y\n"
	fragment := "# why\nCONFIG_A=n\nCONFIG_B=y\nCONFIG_D=12\nCONFIG_A=m\n# CONFIG_AB is not set\n"
	want := "# title\nCONFIG_C=\"x\"\nCONFIG_B=y\nCONFIG_D=12\nCONFIG_A=m\nCONFIG_AB=n\n"
	if got := mergeConfig(base, fragment); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestLostOptions(t *testing.T) {
	fragment := "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=n\nCONFIG_E=12\n# CONFIG_F is not set\nCONFIG_G=y\nCONFIG_G=m\n"
	config := "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_E=13\n# CONFIG_F is not set\nCONFIG_G=m\n"
	if got, want := lostOptions(fragment, config), []string{"B=y", "C=n", "E=12"}; !slices.Equal(got, want) {
		t.Errorf("lost %v, want %v", got, want)
	}
}

func TestKeepWhatModulesNeed(t *testing.T) {
	work, dir := t.TempDir(), t.TempDir()
	k := BuiltKernel{Name: "test", Arch: "um", image: "linux"}
	m := &kernelMake{kernel: k, source: filepath.Join(work, "source"), objects: filepath.Join(work, "objects")}
	write := func(name string) {
		t.Helper()
		name = filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept := []string{"Makefile", "arch/um/Makefile", "arch/x86/Makefile.um", "arch/x86/um/asm/a.h", "include/linux/b.h", "scripts/mod/modpost.c"}
	made := []string{".config", "Module.symvers", "include/generated/c.h", "scripts/mod/modpost", "arch/um/include/generated/d.h"}
	for _, name := range append(slices.Clone(kept), "fs/x.h", "arch/um/kernel/y.c", "arch/arm/include/z.h") {
		write("source/" + name)
	}
	for _, name := range append(slices.Clone(made), "linux", "vmlinux.o", "scripts/mod/modpost.o", "arch/um/kernel/y.o", "include/.b.cmd") {
		write("objects/" + name)
	}
	if err := m.keep(dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(k.Headers(dir), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(k.Headers(dir), path)
			got = append(got, rel)
		}
		return err
	})
	want := append(slices.Clone(kept), made...)
	slices.Sort(want)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("kept %v, %v; want %v", got, err, want)
	}
	if _, err := os.Stat(k.Image(dir)); err != nil {
		t.Error(err)
	}
}

func TestChangeWantsOnePlace(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	c := change{"f", "old", "new"}
	for text, ok := range map[string]bool{"an old line": true, "old, old": false, "none": false} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := c.apply(dir); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := (change{"missing", "a", "b"}).apply(dir); err == nil {
		t.Error("a missing file can be changed")
	}
}
