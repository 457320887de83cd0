// SPDX-License-Identifier: MIT

package vm

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"kshm/internal/deps"
)

// The source of the guest's init. It is compiled on first use, because what
// embeds it may itself be linked dynamically or be for another processor.
//
//go:embed guest/*.go wire/wire.go
var guestSource embed.FS

// buildGuest returns the path of the guest's init for a processor.
func buildGuest(ctx context.Context, arch string) (string, error) {
	root, err := deps.Root()
	if err != nil {
		return "", err
	}
	sum, err := guestDigest(arch)
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "guest", "init-"+arch+"-"+sum[:16])
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", &deps.UnavailableError{What: "the guest's init", Why: "the go command is not on the PATH", Err: err}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("vm: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".build-*")
	if err != nil {
		return "", fmt.Errorf("vm: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := compileGuest(ctx, goTool, tmp, arch); err != nil {
		return "", fmt.Errorf("vm: build the guest's init: %w", err)
	}
	if err := os.Rename(filepath.Join(tmp, "init"), path); err != nil {
		return "", fmt.Errorf("vm: %w", err)
	}
	return path, nil
}

func compileGuest(ctx context.Context, goTool, dir, arch string) error {
	if err := os.CopyFS(filepath.Join(dir, "internal", "vm"), guestSource); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module kshm\n\ngo 1.26\n"), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, goTool, "build", "-trimpath", "-ldflags=-s -w", "-o", "init", "./internal/vm/guest")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// guestDigest identifies the source, the compiler and the target.
func guestDigest(arch string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, arch, runtime.Version())
	err := fs.WalkDir(guestSource, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := guestSource.ReadFile(name)
		fmt.Fprintln(h, name, len(b))
		h.Write(b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}
