// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// commandLine runs the command line and returns its status and what it complained.
func commandLine(t *testing.T, args ...string) (status int, stdout, stderr string) {
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
			status, stdout, stderr := commandLine(t, append([]string{"vm", "run"}, test.args...)...)
			if status != 2 || !strings.Contains(stderr, test.want) || stdout != "" {
				t.Errorf("status %d, want 2; stdout %q; stderr %q, want %q in it", status, stdout, stderr, test.want)
			}
		})
	}
}

func TestVMRunBadKernelImage(t *testing.T) {
	status, _, stderr := commandLine(t, "vm", "run", "--kernel", "./vm_test.go", "--", "x")
	if status != 1 || !strings.Contains(stderr, "not a bzImage") {
		t.Errorf("status %d, want 1; stderr %q", status, stderr)
	}
}

// TestVMRunStatus boots a machine; the program's status is the command's.
func TestVMRunStatus(t *testing.T) {
	if os.Getenv("KSHM_VM") == "" {
		t.Skip("boots a virtual machine; set KSHM_VM=1")
	}
	prog := filepath.Join(t.TempDir(), "prog")
	build := exec.Command("go", "build", "-o", prog, "kshm/internal/vm/testdata/prog")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	log := filepath.Join(t.TempDir(), "log")
	status, stdout, stderr := commandLine(t, "vm", "run", "--log", log, "--hugepages", "3", "--", prog, "hugepages")
	if status != 0 || stdout != "3\n" {
		t.Errorf("status %d, want 0; stdout %q, want 3; stderr %q", status, stdout, stderr)
	}
	if b, err := os.ReadFile(log); err != nil || len(b) == 0 {
		t.Errorf("the kernel log has %d bytes, error %v", len(b), err)
	}
	status, _, stderr = commandLine(t, "vm", "run", "--", prog, "exit", "7")
	if status != 7 {
		t.Errorf("status %d, want 7; stderr %q", status, stderr)
	}
	status, _, stderr = commandLine(t, "vm", "run", "--", prog, "kmsg", "<4>BUG: on request")
	if status != 1 || !strings.Contains(stderr, "complaint") {
		t.Errorf("status %d, want 1; stderr %q", status, stderr)
	}
}
