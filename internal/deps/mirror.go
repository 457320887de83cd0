// SPDX-License-Identifier: MIT

package deps

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// mirrorTree copies a source folder to its place under root, along with the
// repository's driver/include, and returns that place.
func mirrorTree(dir, root string) (string, error) {
	repo := Repo()
	place, err := placeOf(dir, repo)
	if err != nil {
		return "", err
	}
	if repo != "" {
		include := filepath.Join("driver", "include")
		if err := mirror(filepath.Join(repo, include), filepath.Join(root, include)); err != nil && !os.IsNotExist(err) {
			return "", err
		}
	}
	to := filepath.Join(root, place)
	return to, mirror(dir, to)
}

// placeOf returns the path of dir in the repository, or its name outside of it.
func placeOf(dir, repo string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(repo, abs); err == nil && repo != "" && filepath.IsLocal(rel) {
		return rel, nil
	}
	return filepath.Base(abs), nil
}

// sources are the suffixes and names of what kbuild compiles from.
var sources = []string{".c", ".h", ".S", "Kbuild", "Makefile"}

// mirror copies the sources of a folder and those below it, and removes copies
// of sources that are gone.
func mirror(from, to string) error {
	isSource := func(name string) bool {
		for _, s := range sources {
			if strings.HasSuffix(name, s) && !strings.HasSuffix(name, ".mod.c") {
				return true
			}
		}
		return false
	}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isSource(path) {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return copyChanged(path, filepath.Join(to, rel))
	})
	if err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isSource(path) {
			return err
		}
		rel, err := filepath.Rel(to, path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(from, rel)); os.IsNotExist(err) {
			return os.Remove(path)
		}
		return nil
	})
}

// copyChanged copies a file unless its copy has the same content already, so
// that make sees what changed.
func copyChanged(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
