// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openSource(t *testing.T, content []byte) *Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSource(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSource(t *testing.T) {
	for content, want := range map[string]string{
		"":    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	} {
		s := openSource(t, []byte(content))
		if got, err := s.Digest(); got != want || err != nil || s.Change() != "" {
			t.Errorf("%q: digest %s, error %v, change %q", content, got, err, s.Change())
		}
	}
}

func TestSourceDefault(t *testing.T) {
	s, err := OpenSource("")
	if err != nil || s.Size == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	s.Close()
}

func TestSourceRefused(t *testing.T) {
	for path, want := range map[string]string{
		t.TempDir():                        "is a folder",
		os.DevNull:                         "not a regular file",
		filepath.Join(t.TempDir(), "none"): "no such file",
	} {
		_, err := OpenSource(path)
		var source *SourceError
		if !errors.As(err, &source) || !strings.Contains(err.Error(), want) || source.Path != path {
			t.Errorf("%s: got %v, want a SourceError with %q", path, err, want)
		}
	}
}

func TestSourceChanges(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*os.File) error
		want    string
		shorter bool
	}{
		"shorter": {func(f *os.File) error { return f.Truncate(2) }, "became shorter", true},
		"longer":  {func(f *os.File) error { _, err := f.WriteAt([]byte("more"), 4); return err }, "grew", false},
		"other":   {func(f *os.File) error { return os.Chtimes(f.Name(), time.Time{}, time.Unix(1, 0)) }, "was written to", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSource(t, []byte("1234"))
			w, err := os.OpenFile(s.Path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if err := test.change(w); err != nil {
				t.Fatal(err)
			}
			if got := s.Change(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if _, err := s.Digest(); errors.Is(err, errShorter) != test.shorter {
				t.Errorf("digest error %v", err)
			}
		})
	}
}
