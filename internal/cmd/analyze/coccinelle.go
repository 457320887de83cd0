// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"kshm/internal/deps"
)

// inOCaml matches scripts that want an OCaml compiler. Two do: one is about
// comparisons of pointers with 0, which sparse finds, one about a battery chip.
var inOCaml = regexp.MustCompile(`(?m)^@\s*(?:script|initialize|finalize):ocaml`)

// coccinelle runs the scripts of the kernel's collection that can report.
func (t *tree) coccinelle(ctx context.Context, dirs []string) ([]finding, error) {
	spatch, err := deps.EnsureSpatch(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	files, err := t.files(dirs, ".c", ".h")
	if err != nil {
		return nil, err
	}
	var scripts []string
	err = filepath.WalkDir(spatch.Scripts, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".cocci") {
			scripts = append(scripts, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return inParallel(scripts, func(script string) ([]finding, error) {
		text, err := os.ReadFile(script)
		if err != nil || !bytes.Contains(text, []byte("virtual report")) || inOCaml.Match(text) {
			return nil, err
		}
		args := append(scriptOptions(string(text)), "-D", "report", "--no-show-diff", "--very-quiet", "--cocci-file", script)
		cmd := exec.CommandContext(ctx, spatch.Program, append(args, files...)...)
		cmd.Env = spatch.Env
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("analyze: %s: %w\n%s", filepath.Base(script), err, complaints.Bytes())
		}
		name := strings.TrimSuffix(filepath.Base(script), ".cocci")
		return t.findings("coccinelle "+name, out), nil
	})
}

// scriptOptions are what a script says that it wants to be run with.
func scriptOptions(text string) (all []string) {
	for line := range strings.Lines(text) {
		if _, options, ok := strings.Cut(line, "Options:"); ok {
			all = append(all, strings.Fields(options)...)
		}
	}
	return all
}
