// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cli runs kshm and returns its status and all that it said.
func cli(t *testing.T, args ...string) (int, string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(os.Getenv("KSHM_WINDOWS_DRIVERS"), "kshm.exe"), args...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

// expect runs kshm, which must end with that status and say want.
func expect(t *testing.T, status int, want string, args ...string) string {
	t.Helper()
	got, out := cli(t, args...)
	if got != status || !strings.Contains(out, want) {
		t.Fatalf("kshm %s: status %d, want %d; it said\n%s\nwant %q in it", strings.Join(args, " "), got, status, out, want)
	}
	return out
}

// The life of a driver by the command line alone.
func TestCommandLine(t *testing.T) {
	if err := digest.stop(); err != nil { // the device's name is free now
		t.Fatal(err)
	}
	defer func() {
		if err := digest.start(); err != nil {
			t.Fatal(err)
		}
	}()
	image := filepath.Join(os.Getenv("KSHM_WINDOWS_DRIVERS"), digestImage)
	expect(t, 3, "not installed", "driver", "start", "digest")
	expect(t, 3, "not installed", "driver", "stop", "digest")
	expect(t, 3, "not installed", "driver", "remove", "digest")
	expect(t, 3, "kshm driver install", "demo")
	expect(t, 3, "digest", "info", "digest")
	expect(t, 2, "does not exist", "driver", "install", "digest", image+".none")
	expect(t, 2, "not a driver", "driver", "install", "digest", os.Args[0])

	expect(t, 0, "installed", "driver", "install", "digest", image)
	expect(t, 1, "installed already", "driver", "install", "digest", image)
	expect(t, 0, "stopped", "driver", "stop", "digest") // it is already
	expect(t, 0, "running", "driver", "start", "digest")
	expect(t, 0, "running", "driver", "start", "digest")
	expect(t, 1, "stop it first", "driver", "remove", "digest")
	expect(t, 0, "kshm_digest", "info")
	expect(t, 0, "a share", "info", "digest")
	checkDemo(t, expect(t, 0, "sha256", "demo", "--json"))
	expect(t, 0, "verified", "demo")
	expect(t, 0, "stopped", "driver", "stop", "--end-shares", "digest")
	expect(t, 0, "removed", "driver", "remove", "digest")
	expect(t, 3, "not installed", "driver", "start", "digest")
}

// The service manager hands a driver's path to the kernel as it stands, which
// knows no quotes.
func TestCommandLinePathWithSpaces(t *testing.T) {
	if err := digest.stop(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := digest.start(); err != nil {
			t.Fatal(err)
		}
	}()
	image, err := os.ReadFile(filepath.Join(os.Getenv("KSHM_WINDOWS_DRIVERS"), digestImage))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a folder with spaces", "digest.sys")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o777), os.WriteFile(path, image, 0o666)); err != nil {
		t.Fatal(err)
	}
	expect(t, 0, "installed", "driver", "install", "digest", path)
	expect(t, 0, "running", "driver", "start", "digest")
	expect(t, 0, "stopped", "driver", "stop", "digest")
	expect(t, 0, "removed", "driver", "remove", "digest")
}

func checkDemo(t *testing.T, out string) {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]any{
		"path": "native", "kernel_side": "Windows driver", "driver": "digest", "verified": true,
		"sha256": r["go_sha256"], "kill9_share_ended": true, "end_reason": "done",
	} {
		if r[name] != want {
			t.Errorf("%s is %v, want %v", name, r[name], want)
		}
	}
	if live := r["live_updates"].(float64); live == 0 {
		t.Error("the program never saw the driver's counter change")
	}
}
