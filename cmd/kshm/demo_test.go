// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestDemoUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"two files":      {[]string{"a", "b"}, "one file at most"},
		"unknown flag":   {[]string{"--colour"}, "unknown flag"},
		"unknown path":   {[]string{"--path", "moon"}, "want auto, native, vm or bpf"},
		"unknown kernel": {[]string{"--kernel", "5.4"}, "want 6.1"},
		"no such file":   {[]string{"/nowhere/file"}, "/nowhere/file: cannot be read"},
		"folder":         {[]string{t.TempDir()}, "is a folder"},
		"device":         {[]string{os.DevNull}, "is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := commandLine(t, append([]string{"demo"}, test.args...)...)
			if status != 2 || !strings.Contains(stderr, test.want) || stdout != "" {
				t.Errorf("status %d, want 2; stdout %q; stderr %q, want %q in it", status, stdout, stderr, test.want)
			}
		})
	}
}

// TestDemoWithoutTools runs where nothing is fetched and nothing can be.
func TestDemoWithoutTools(t *testing.T) {
	t.Setenv("KSHM_DEPS", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	status, stdout, stderr := commandLine(t, "demo", "--path", "vm")
	if status != 3 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "examples/recipe") || stdout != "" {
		t.Errorf("status %d, want 3; stdout %q; stderr %q, want one line with the way out", status, stdout, stderr)
	}
}

// TestDemoInGuest is the demo as a person starts it, from a program that is
// linked as `go run` links it.
func TestDemoInGuest(t *testing.T) {
	if os.Getenv("KSHM_VM") == "" {
		t.Skip("boots a virtual machine; set KSHM_VM=1")
	}
	program := filepath.Join(t.TempDir(), "kshm")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	odd := filepath.Join(t.TempDir(), "with, comma")
	if err := os.WriteFile(odd, []byte(strings.Repeat("0123456789", 314159)), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"default": nil, "odd": {odd}, "empty": {empty}, "6.12": {"--kernel", "6.12", odd},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program, append([]string{"demo", "--path", "vm", "--json"}, args...)...)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			checkDemo(t, out)
		})
	}
}

func checkDemo(t *testing.T, out []byte) {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]any{
		"path": "vm", "kernel_side": "Linux module", "driver": "digest", "verified": true,
		"sha256": r["go_sha256"], "pins_leaked": 0.0, "kill9_pins_leaked": 0.0, "kill9_share_ended": true,
	} {
		if r[name] != want {
			t.Errorf("%s is %v, want %v", name, r[name], want)
		}
	}
	size, live := r["bytes"].(float64), r["live_updates"].(float64)
	if (live > 0) != (size > 0) {
		t.Errorf("%v live updates for %v bytes", live, size)
	}
	if share := r["share_us"].(float64); share <= 0 {
		t.Errorf("the share took %v µs", share)
	}
}
