// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"strings"
	"testing"
)

// kshm runs the command line and returns its status and what it complained.
func kshm(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	root := newRootCommand()
	root.SetOut(&out)
	root.SetErr(&err)
	root.SetArgs(args)
	status = execute(t.Context(), root)
	return status, out.String(), err.String()
}

func TestVMRunUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no program":      {[]string{}, "no program to run"},
		"unknown kernel":  {[]string{"--kernel", "5.4", "--", "x"}, "want 6.1"},
		"unknown flag":    {[]string{"--colour", "--", "x"}, "unknown flag"},
		"file, no colon":  {[]string{"--file", "a", "--", "x"}, "want HOST:GUEST"},
		"file, relative":  {[]string{"--file", "a:b", "--", "x"}, "absolute path"},
		"collect, no sep": {[]string{"--collect", "/a", "--", "x"}, "want GUEST:HOST"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := kshm(t, append([]string{"vm", "run"}, test.args...)...)
			if status != 2 || !strings.Contains(stderr, test.want) || stdout != "" {
				t.Errorf("status %d, want 2; stdout %q; stderr %q, want %q in it", status, stdout, stderr, test.want)
			}
		})
	}
}

func TestVMRunBadKernelImage(t *testing.T) {
	status, _, stderr := kshm(t, "vm", "run", "--kernel", "./vm_test.go", "--", "x")
	if status != 1 || !strings.Contains(stderr, "not a bzImage") {
		t.Errorf("status %d, want 1; stderr %q", status, stderr)
	}
}
