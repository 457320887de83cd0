// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kshm"
	"kshm/internal/deps"
)

func TestSourceDigestSeesEveryChange(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[string]string)
	check := func(what string) {
		t.Helper()
		sum, err := sourceDigest(root, []string{"a", "b"})
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := seen[sum]; ok {
			t.Errorf("the digest after %q is that after %q", what, before)
		}
		seen[sum] = what
	}
	write("a/x.c", "1")
	write("b/y.h", "2")
	check("the first state")
	write("a/x.c", "3")
	check("another content")
	write("a/z.c", "")
	check("another file")
	if err := os.Rename(filepath.Join(root, "a/z.c"), filepath.Join(root, "b/z.c")); err != nil {
		t.Fatal(err)
	}
	check("another place")
	if _, err := sourceDigest(root, []string{"none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}

// TestWithoutDriver says when a missing driver is the end of it.
func TestWithoutDriver(t *testing.T) {
	for _, test := range []struct {
		path  string
		err   error
		lacks bool // the environment lacks something
		ends  bool
	}{
		{"auto", kshm.ErrNotExist, false, false},
		{"auto", kshm.ErrNotSupported, false, false},
		{"auto", kshm.ErrPermission, false, false},
		{"auto", kshm.ErrABI, false, true},
		{"native", kshm.ErrNotExist, true, true},
		{"native", kshm.ErrPermission, true, true},
	} {
		o := Options{Path: test.path, Progress: t.Output()}
		err := o.withoutDriver(test.err)
		if (err != nil) != test.ends || errors.Is(err, deps.ErrUnavailable) != test.lacks {
			t.Errorf("%s, %v: got %v", test.path, test.err, err)
		}
	}
}
