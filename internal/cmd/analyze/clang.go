// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"kshm/internal/deps"
)

// clang has clang's static analyzer look at every file that the build compiled,
// with the definitions and folders that the compiler was given.
func (t *tree) clang(ctx context.Context, dirs []string) ([]finding, error) {
	headers, err := deps.Headers(ctx, os.Stderr, deps.Kernel612)
	if err != nil {
		return nil, err
	}
	commands, err := t.files(dirs, ".o.cmd")
	if err != nil {
		return nil, err
	}
	return inParallel(commands, func(name string) ([]finding, error) {
		args, err := compilerArgs(name)
		if err != nil || args == nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "kshm-bpf-clang", append([]string{"--analyze", "--analyzer-output", "text", "-w"}, args...)...)
		cmd.Dir = headers
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("analyze: clang: %w\n%s", err, out)
		}
		return t.findings("clang", out), nil
	})
}

// kept are the compiler's arguments that decide what the code means; the rest is
// gcc's own affair.
var kept = []string{"-I", "-D", "-U", "-std=", "-nostdinc", "-fshort-wchar", "-funsigned-char", "-m64", "-mcmodel=",
	"-fno-strict-aliasing", "-fno-delete-null-pointer-checks"}

// compilerArgs reads a file in which kbuild keeps the command that made an
// object. It returns nil if that was not a C file of the project.
func compilerArgs(name string) ([]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	_, command, _ := strings.Cut(line, ":=")
	command, _, _ = strings.Cut(command, " ; ") // what follows the compiler
	words := splitWords(command)
	if len(words) == 0 {
		return nil, nil
	}
	source := words[len(words)-1]
	if !strings.HasSuffix(source, ".c") || strings.HasSuffix(source, ".mod.c") {
		return nil, nil
	}
	var args []string
	for i, w := range words {
		if (w == "-include" || w == "-isystem") && i+1 < len(words) {
			args = append(args, w, words[i+1])
		} else if slices.ContainsFunc(kept, func(k string) bool { return strings.HasPrefix(w, k) }) {
			args = append(args, w)
		}
	}
	return append(args, source), nil
}

// splitWords splits a command as a shell would that knows no more than single
// quotes.
func splitWords(command string) (words []string) {
	var word strings.Builder
	quoted, open := false, false
	for _, r := range command {
		switch {
		case r == '\'':
			quoted, open = !quoted, true
		case r == ' ' && !quoted:
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words
}
