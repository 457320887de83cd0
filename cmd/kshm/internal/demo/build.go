// SPDX-License-Identifier: MIT

package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"kshm/internal/deps"
	"kshm/internal/vm"
)

// moduleDirs are the sources, in order of dependency; the headers come first
// and are not built.
var moduleDirs = []string{"driver/include", "driver/linux", "driver/samples/digest"}

// buildModules returns kshm.ko and digest.ko for a kernel. They are built once
// for each state of their sources.
func buildModules(ctx context.Context, w io.Writer, repo string, k vm.Kernel) ([]vm.Module, error) {
	root, err := deps.Root()
	if err != nil {
		return nil, err
	}
	sum, err := sourceDigest(repo, moduleDirs)
	if err != nil {
		return nil, fmt.Errorf("the drivers' sources: %w", err)
	}
	dir := filepath.Join(root, "demo", k.Release+"-"+sum[:16])
	modules := []vm.Module{{Path: filepath.Join(dir, "kshm.ko")}, {Path: filepath.Join(dir, "digest.ko")}}
	if _, err := os.Stat(dir); err == nil {
		return modules, nil
	}
	fmt.Fprintf(w, "demo: compiling kshm.ko and digest.ko for %s, once\n", k.Release)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".build-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := compileModules(ctx, w, repo, k, tmp); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(tmp, "src")); err != nil {
		return nil, err
	}
	// In one step. Another process may have been faster with the same.
	if err := os.Rename(tmp, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return nil, err
		}
	}
	return modules, os.Chmod(dir, 0o755)
}

func compileModules(ctx context.Context, w io.Writer, repo string, k vm.Kernel, out string) error {
	c, _ := deps.Lookup("kernel-" + k.Name)
	b := deps.Build{Kernel: c, Out: out}
	for _, d := range moduleDirs[1:] {
		b.Dirs = append(b.Dirs, filepath.Join(repo, filepath.FromSlash(d)))
	}
	var log bytes.Buffer
	_, err := deps.BuildModules(ctx, io.MultiWriter(&log, onlyLines{w, "deps: "}), b)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, lastLines(log.Bytes(), 30))
	}
	return nil
}

// lastLines returns the n last lines of a text.
func lastLines(text []byte, n int) []byte {
	lines := bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], []byte("\n"))
}

// onlyLines passes on what is written to it if it starts with a prefix: what
// is fetched is for the user, what make says is not.
type onlyLines struct {
	w      io.Writer
	prefix string
}

func (o onlyLines) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte(o.prefix)) {
		return o.w.Write(p)
	}
	return len(p), nil
}

// sourceDigest identifies the content of the folders dirs of root.
func sourceDigest(root string, dirs []string) (string, error) {
	h := sha256.New()
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(dir)), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(name)
			rel, _ := filepath.Rel(root, name)
			fmt.Fprintln(h, filepath.ToSlash(rel), len(b))
			h.Write(b)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// staticProgram returns a copy of this program that runs where there is no C
// library: the program itself, or one compiled from the repository. cleanup
// removes what was made.
func staticProgram(ctx context.Context, repo string, k vm.Kernel) (path string, cleanup func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	if runtime.GOOS == "linux" && runtime.GOARCH == k.Arch && isStatic(self) {
		return self, func() {}, nil
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", nil, &deps.UnavailableError{What: "a static copy of kshm", Why: "the go command is not on the PATH", Err: err}
	}
	tmp, err := os.MkdirTemp("", "kshm-demo-*")
	if err != nil {
		return "", nil, err
	}
	cleanup = func() { os.RemoveAll(tmp) }
	path = filepath.Join(tmp, "kshm")
	cmd := exec.CommandContext(ctx, goTool, "build", "-ldflags=-s -w", "-o", path, "./cmd/kshm")
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+k.Arch, "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		cleanup()
		return "", nil, fmt.Errorf("compile a static copy of kshm: %w\n%s", err, out)
	}
	return path, cleanup, nil
}

func isStatic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}
