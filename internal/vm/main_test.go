// SPDX-License-Identifier: MIT
//go:build linux

package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var scratch string

// Scratch returns a folder that lasts as long as the test binary runs.
func Scratch() string { return scratch }

// Prog compiles the program that tests run in the guest.
var Prog = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "prog")
	cmd := exec.Command("go", "build", "-o", path, "./testdata/prog")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kshm-vm-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}
