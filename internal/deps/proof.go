// SPDX-License-Identifier: MIT

package deps

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ulikunitz/xz"
)

// provideSpin provides the model checker. It needs a C compiler, too.
func provideSpin(ctx context.Context, w io.Writer) ([]string, error) {
	if _, err := exec.LookPath("spin"); err == nil {
		return nil, nil
	}
	return nil, script(ctx, w, Spin, map[string]string{"spin": "spin"})
}

// provideCBMC provides the checker of C. It needs a C compiler, too.
func provideCBMC(ctx context.Context, w io.Writer) ([]string, error) {
	if _, err := exec.LookPath("cbmc"); err == nil {
		return nil, nil
	}
	return nil, ownLibrary(ctx, w, CBMC, map[string]string{"cbmc": "cbmc"})
}

// provideHerd provides the checker of litmus tests, and the Linux kernel's
// memory model, whose folder is $KSHM_MEMORY_MODEL.
func provideHerd(ctx context.Context, w io.Writer) ([]string, error) {
	model, err := memoryModel(ctx, w)
	if err != nil {
		return nil, err
	}
	env := []string{"KSHM_MEMORY_MODEL=" + model}
	if _, err := exec.LookPath("herd7"); err == nil {
		return env, nil
	}
	dir, err := Ensure(ctx, w, Herdtools)
	if err != nil {
		return nil, err
	}
	models := " -set-libdir '" + filepath.Join(dir, "usr/share/herdtools7/herd") + "'"
	return env, ownLibrary(ctx, w, Herdtools, map[string]string{"herd7": "herd7" + models})
}

// modelFiles make up the Linux kernel's memory model.
var modelFiles = []string{"linux-kernel.bell", "linux-kernel.cat", "linux-kernel.cfg", "linux-kernel.def", "lock.cat"}

// memoryModel takes the memory model out of a kernel's source, once.
func memoryModel(ctx context.Context, w io.Writer) (string, error) {
	source, err := Ensure(ctx, w, Source612)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(source, "memory-model")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	f, err := os.Open(filepath.Join(source, "usr/src/linux-source-6.12.tar.xz"))
	if err != nil {
		return "", fmt.Errorf("deps: %w", err)
	}
	defer f.Close()
	fmt.Fprintln(w, "deps: unpacking the kernel's memory model")
	r, err := xz.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return "", fmt.Errorf("deps: %w", err)
	}
	made, err := os.MkdirTemp(source, ".memory-model-*")
	if err != nil {
		return "", fmt.Errorf("deps: %w", err)
	}
	defer os.RemoveAll(made)
	if err := extract(r, made, "tools/memory-model", modelFiles); err != nil {
		return "", fmt.Errorf("deps: unpack the kernel's memory model: %w", err)
	}
	// Another process may have been faster.
	if err := os.Rename(made, dir); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("deps: %w", err)
	}
	return dir, nil
}
