// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kshm/internal/deps"
)

// A tree is a copy of the sources in which they are built.
type tree struct{ out string }

// source is the copy of a folder of the repository.
func (t *tree) source(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		if rel, err := filepath.Rel(deps.Repo(), abs); err == nil && filepath.IsLocal(rel) {
			dir = rel
		}
	}
	return filepath.Join(t.out, "src", dir)
}

// notOurs matches what kbuild makes, and a sample's twin for another system.
var notOurs = regexp.MustCompile(`(\.mod|_windows)\.[ch]$`)

// files are those of the folders whose names end so.
func (t *tree) files(dirs []string, suffixes ...string) (all []string, err error) {
	for _, dir := range dirs {
		err = filepath.WalkDir(t.source(dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !notOurs.MatchString(path) &&
				slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(path, s) }) {
				all = append(all, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// message is the form of what compilers and analyzers say.
var message = regexp.MustCompile(`^(\S+?):(\d+)(?::[\d-]+)?: ?(.*)$`)

// inHeaders matches the path of a file of the kernel, where something of the
// project's may become visible.
var inHeaders = regexp.MustCompile(`/linux-headers-[^/]*/(.*)$`)

// place names a file, "" if it is none that matters.
func (t *tree) place(path string) string {
	if m := inHeaders.FindStringSubmatch(path); m != nil {
		return "kernel/" + m[1]
	}
	file, err := filepath.Rel(filepath.Join(t.out, "src"), filepath.Clean(path))
	if err != nil || !filepath.IsLocal(file) {
		return ""
	}
	return filepath.ToSlash(file)
}

// findings picks what is said about the project's sources and the kernel's. A
// note explains the message before it.
func (t *tree) findings(analyzer string, out []byte) (all []finding) {
	for line := range strings.Lines(string(out)) {
		m := message.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || strings.HasPrefix(m[3], "note:") {
			continue
		}
		n, _ := strconv.Atoi(m[2])
		f := finding{analyzer, t.place(m[1]), n, m[3]}
		if f.file != "" && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return all
}

// sparse builds the modules and has sparse look at each file. What the compiler
// says counts, too.
func (t *tree) sparse(ctx context.Context, dirs []string) ([]finding, error) {
	var out bytes.Buffer
	_, err := deps.BuildModules(ctx, &out, deps.Build{Kernel: deps.Kernel612, Dirs: dirs, Out: t.out, Sparse: true})
	found := t.findings("sparse", out.Bytes())
	if err != nil && len(found) == 0 {
		os.Stderr.Write(out.Bytes())
		return nil, err
	}
	if err != nil { // once more, without, for what the others need
		_, err = deps.BuildModules(ctx, os.Stderr, deps.Build{Kernel: deps.Kernel612, Dirs: dirs, Out: t.out})
	}
	return found, err
}

// inParallel calls do for every entry, as many at once as there are processors.
func inParallel[T any](list []T, do func(T) ([]finding, error)) (all []finding, err error) {
	var wait sync.WaitGroup
	var lock sync.Mutex
	slots := make(chan struct{}, runtime.NumCPU())
	for _, entry := range list {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			found, failed := do(entry)
			lock.Lock()
			defer lock.Unlock()
			all, err = append(all, found...), errors.Join(err, failed)
		})
	}
	wait.Wait()
	slices.SortFunc(all, func(a, b finding) int { return strings.Compare(a.String(), b.String()) })
	return all, err
}
