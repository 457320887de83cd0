// SPDX-License-Identifier: MIT

//go:build kernel

package demo

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// This binary plays all parts of the demo.
func TestMain(m *testing.M) {
	part := "test"
	if len(os.Args) > 2 && os.Args[1] == "part" {
		part = os.Args[2]
	}
	var err error
	switch part {
	case "share":
		err = Share(os.Args[3], []string{os.Args[0], "part", "hold"})
	case "hold":
		err = Hold(os.NewFile(3, "share"), os.Stdin, os.Stdout)
	case "do":
		var r *Report
		if r, err = doNatively(os.Args[3], func(Event) {}); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(r)
		}
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

func doNatively(file string, emit Emit) (*Report, error) {
	o := Options{Path: "native", File: file, Child: []string{os.Args[0], "part", "share"}, Progress: os.Stderr, Emit: emit}
	return Do(context.Background(), o)
}

func TestNative(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, []byte(strings.Repeat("kshm", pieceSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"", big, empty} {
		var rec recorder
		r, err := doNatively(file, rec.emit)
		if err != nil {
			t.Errorf("%q: %v", file, err)
			continue
		}
		if !r.Verified || r.Path != "native" || r.KernelSide != "Linux module" || r.Unproven != "" {
			t.Errorf("%q: %+v", file, r)
		}
		// judge has refused counts other than 0; nil would be no proof.
		if r.PinsLeaked == nil || r.KillPinsLeaked == nil || r.KillShareEnded == nil || !*r.KillShareEnded {
			t.Errorf("%q: not all is proven: %+v", file, r)
		}
		if steps := strings.Join(rec.steps(), ","); !strings.HasSuffix(steps, "8 program,8 kernel,8 kernel,8 program") {
			t.Errorf("%q: steps %s", file, steps)
		}
	}
}

// TestNativeUnprivileged: what cannot be known is said, and is not a failure.
func TestNativeUnprivileged(t *testing.T) {
	const node = "/dev/kshm/digest"
	run := func() ([]byte, error) {
		cmd := exec.Command(os.Args[0], "part", "do", "")
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd.Output()
	}
	if out, err := run(); err == nil {
		t.Errorf("a node of mode 0600 can be opened by nobody: %s", out)
	}
	if err := os.Chmod(node, 0o666); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(node, 0o600)
	out, err := run()
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !r.Verified || r.KillShareEnded == nil || !*r.KillShareEnded {
		t.Errorf("got %s", out)
	}
	if r.PinsLeaked != nil || r.KillPinsLeaked != nil || !strings.Contains(r.Unproven, "only root") {
		t.Errorf("nobody has counted the system's pinned pages: %s", out)
	}
}
