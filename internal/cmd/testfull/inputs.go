// SPDX-License-Identifier: MIT

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A tree is what the repository holds: a digest for each file.
type tree map[string]string

// readTree reads everything but what is built, and documents.
func readTree(root string) (tree, error) {
	files := make(tree)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		hidden := rel != "." && strings.HasPrefix(d.Name(), ".")
		if d.IsDir() && (rel == "build" || hidden) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || hidden || filepath.Ext(rel) == ".md" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		files[filepath.ToSlash(rel)] = hex.EncodeToString(sum[:])
		return nil
	})
	return files, err
}

// inputs identifies the part and all that it depends on.
func (p part) inputs(files tree) string {
	h := sha256.New()
	fmt.Fprintln(h, p.Name, p.Kernel, p.Command)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if p.dependsOn(name) {
			fmt.Fprintln(h, name, files[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func (p part) dependsOn(name string) bool {
	return len(p.Inputs) == 0 || slices.ContainsFunc(p.Inputs, func(in string) bool {
		return name == in || strings.HasPrefix(name, in+"/") || in == "." && !strings.Contains(name, "/")
	})
}
