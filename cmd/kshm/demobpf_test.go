// SPDX-License-Identifier: MIT

//go:build linux && amd64

package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kshm/cmd/kshm/internal/demo"
)

// The demo on the running kernel: all is shown and nothing is left, or one
// line says what the machine lacks.
func TestDemoBPF(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kshm")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, "demo", "--path", "bpf", "--json")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 3 && os.Getenv("CI") != "true" {
		if strings.Count(said.String(), "\n") != 1 {
			t.Errorf("it says\n%s", said.String())
		}
		t.Skip(strings.TrimSpace(said.String()))
	}
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	var r demo.BPFReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if !r.Verified || r.KernelSum != r.GoSum || r.KernelSide != "eBPF" || r.Events == 0 || r.LeftAfterDone != 0 || r.LeftAfterKill9 != 0 || r.EndReason != "done" {
		t.Errorf("%+v", r)
	}
}
