// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kshm/internal/deps"
)

// bareMachine is one on which nothing can be fetched.
func bareMachine(t *testing.T, ci string) {
	t.Helper()
	t.Setenv("KSHM_DEPS", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", ci)
}

func TestWithStatus(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	err = with(t.Context(), []string{"--", sh, "-c", "exit 7"})
	var status statusError
	if !errors.As(err, &status) || status != 7 {
		t.Errorf("got %v, want status 7", err)
	}
	if err := with(t.Context(), []string{"--", sh, "-c", "exit 0"}); err != nil {
		t.Error(err)
	}
}

func TestWithoutWhatItNeeds(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "ran")
	run := []string{"qemu", "--", sh, "-c", ": >" + mark}
	for _, c := range []struct {
		ci       string
		args     []string
		fails    bool
		wantMark bool
	}{
		{"", run, false, false},
		{"true", run, true, false},
		{"true", append([]string{"-try"}, run...), true, false},
		{"", append([]string{"-try"}, run...), false, true},
	} {
		t.Run(c.ci+c.args[0], func(t *testing.T) {
			bareMachine(t, c.ci)
			err := with(t.Context(), c.args)
			if c.fails != errors.Is(err, deps.ErrUnavailable) || !c.fails && err != nil {
				t.Errorf("got %v, failing is %v", err, c.fails)
			}
			if _, err := os.Stat(mark); (err == nil) != c.wantMark {
				t.Errorf("the command ran: %v, want %v", err == nil, c.wantMark)
			}
		})
	}
}

func TestWithUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"qemu"}, {"qemu", "--"}, {"-try", "--"}} {
		if err := with(t.Context(), args); !errors.Is(err, errUsage) {
			t.Errorf("%q: got %v", args, err)
		}
	}
	if err := with(t.Context(), []string{"nonesuch", "--", "true"}); err == nil || errors.Is(err, deps.ErrUnavailable) {
		t.Errorf("unknown component: %v", err)
	}
}
