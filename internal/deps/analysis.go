// SPDX-License-Identifier: MIT

package deps

import (
	"archive/tar"
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// Headers returns the folder in which a kernel's modules are compiled, from
// which the paths in the compiler's command lines start.
func Headers(ctx context.Context, w io.Writer, kernel Component) (string, error) {
	return headersOf(ctx, w, kernel)
}

// A Spatch is Coccinelle and the kernel's collection of scripts for it.
type Spatch struct {
	Program string
	Env     []string // what it wants to run where it lies
	Scripts string   // a folder of folders of .cocci files
}

// EnsureSpatch fetches Coccinelle and takes the scripts out of a kernel's source.
func EnsureSpatch(ctx context.Context, w io.Writer) (*Spatch, error) {
	dir, err := Ensure(ctx, w, Coccinelle)
	if err != nil {
		return nil, err
	}
	scripts, err := cocciScripts(ctx, w)
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(),
		"COCCINELLE_HOME="+filepath.Join(dir, "usr/lib/coccinelle"),
		"PYTHONHOME="+filepath.Join(dir, "usr"),
		"PATH="+filepath.Join(dir, "usr/bin")+":"+os.Getenv("PATH"),
		"LD_LIBRARY_PATH="+filepath.Join(dir, "usr/lib/x86_64-linux-gnu")+":"+filepath.Join(dir, "lib/x86_64-linux-gnu"))
	return &Spatch{Program: filepath.Join(dir, "usr/bin/spatch"), Env: env, Scripts: scripts}, nil
}

const cocciFolder = "scripts/coccinelle/"

// cocciScripts unpacks the scripts, once.
func cocciScripts(ctx context.Context, w io.Writer) (string, error) {
	source, err := Ensure(ctx, w, Source612)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(source, "coccinelle")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	f, err := os.Open(filepath.Join(source, "usr/src/linux-source-6.12.tar.xz"))
	if err != nil {
		return "", fmt.Errorf("deps: %w", err)
	}
	defer f.Close()
	fmt.Fprintln(w, "deps: unpacking the kernel's scripts for Coccinelle")
	r, err := xz.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return "", fmt.Errorf("deps: %w", err)
	}
	made, err := os.MkdirTemp(source, ".coccinelle-*")
	if err != nil {
		return "", fmt.Errorf("deps: %w", err)
	}
	defer os.RemoveAll(made)
	if err := extractScripts(r, made); err != nil {
		return "", fmt.Errorf("deps: unpack the kernel's scripts: %w", err)
	}
	// Another process may have been faster.
	if err := os.Rename(made, dir); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("deps: %w", err)
	}
	return dir, nil
}

func extractScripts(r io.Reader, to string) error {
	n := 0
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF && n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(belowTop(h.Name), cocciFolder)
		if !ok || !strings.HasSuffix(name, ".cocci") || !filepath.IsLocal(name) {
			continue
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
		n++
	}
}
