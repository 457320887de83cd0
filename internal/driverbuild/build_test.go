// SPDX-License-Identifier: MIT

package driverbuild

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"kshm/internal/pe"
)

const root = "../.."

// built makes the drivers once for all tests, in a folder that the tests share.
var built = sync.OnceValues(func() ([]string, error) {
	dir, err := os.MkdirTemp("", "kshm-drivers-")
	if err != nil {
		return nil, err
	}
	return Build(context.Background(), root, dir)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if images, _ := built(); len(images) > 0 {
		os.RemoveAll(filepath.Dir(images[0]))
	}
	os.Exit(code)
}

// images builds, or says what is missing.
func images(t *testing.T) []string {
	t.Helper()
	paths, err := built()
	need(t, err)
	return paths
}

func need(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrNoTools) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readImports(t *testing.T, name string) pe.Imports {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "driver/windows", name))
	if err != nil {
		t.Fatal(err)
	}
	return pe.ParseImports(string(text))
}

// Build has refused what is not on the lists; here: nothing is on them in vain,
// and the test seam is in no image but its own.
func TestImports(t *testing.T) {
	paths := images(t)
	used, seam := map[string]bool{}, readImports(t, "imports_test_section.txt")
	for i, path := range paths {
		imports, err := pe.ImportsOf(path)
		if err != nil {
			t.Fatal(err)
		}
		for image, names := range imports {
			for _, name := range names {
				used[image+" "+name] = true
				if slices.Contains(seam[image], name) && !Drivers[i].Section {
					t.Errorf("%s imports %s: the test seam is in it", path, name)
				}
			}
		}
	}
	for _, list := range []pe.Imports{readImports(t, "imports.txt"), seam} {
		for image, names := range list {
			for _, name := range names {
				if !used[image+" "+name] {
					t.Errorf("no driver imports %s from %s", name, image)
				}
			}
		}
	}
}

func TestSameBytes(t *testing.T) {
	first := images(t)
	second, err := Build(t.Context(), root, t.TempDir())
	need(t, err)
	for i := range first {
		a, errA := os.ReadFile(first[i])
		b, errB := os.ReadFile(second[i])
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs from one build to the next", filepath.Base(first[i]))
		}
	}
}

func TestSign(t *testing.T) {
	var copies []string
	dir := t.TempDir()
	for _, path := range images(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, name)
	}
	need(t, Sign(t.Context(), copies)) // it verifies what it signs
	b := &builder{root: filepath.Join(root, "driver")}
	for i, path := range copies {
		allowed, err := b.imports(Drivers[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := pe.Lint(path, allowed); err != nil {
			t.Errorf("signed: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "test.cer")); err != nil {
		t.Error(err)
	}
}

// TestLint breaks a good image in every way that Lint looks for.
func TestLint(t *testing.T) {
	good, err := os.ReadFile(images(t)[0])
	if err != nil {
		t.Fatal(err)
	}
	header := int(binary.LittleEndian.Uint32(good[0x3c:]))
	sections := header + 24 + int(binary.LittleEndian.Uint16(good[header+20:]))
	section := func(name string) int {
		at := bytes.Index(good[sections:], append([]byte(name), 0))
		if at < 0 || at%40 != 0 {
			t.Fatalf("no section %s", name)
		}
		return sections + at
	}
	cases := []struct {
		says  string
		at    int
		value uint32
	}{
		{"subsystem", header + 24 + 68, 2 | uint32(binary.LittleEndian.Uint16(good[header+24+70:]))<<16},
		{"NX", header + 24 + 68, 1 | 0x0060<<16},
		{"another address", header + 24 + 68, 1 | 0x0120<<16},
		{"share pages", header + 24 + 32, 512},
		{"writable and executable", section("INIT") + 36, 0xe2000020},
		{"not discardable", section("INIT") + 36, 0x60000020},
		{"no INIT", section("INIT"), 0x41414141},
		{"code and is discardable", section(".text") + 36, 0x62000020},
		{"not in INIT", header + 24 + 16, 0x1000},
		{"checksum", header + 24 + 64, 1},
	}
	allowed := readImports(t, "imports.txt")
	path := filepath.Join(t.TempDir(), "bad.sys")
	for _, c := range cases {
		bad := bytes.Clone(good)
		binary.LittleEndian.PutUint32(bad[c.at:], c.value)
		lintSays(t, path, bad, allowed, c.says)
	}
	lintSays(t, path, good, pe.Imports{}, "not on the list")
	if err := os.WriteFile(path, good, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := pe.Lint(path, allowed); err != nil {
		t.Errorf("the good image: %v", err)
	}
}

func lintSays(t *testing.T, path string, image []byte, allowed pe.Imports, says string) {
	t.Helper()
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := pe.Lint(path, allowed); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Lint says %v, not %q", err, says)
	}
}
