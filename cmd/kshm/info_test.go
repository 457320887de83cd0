// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kshm"
)

func TestInfo(t *testing.T) {
	status, stdout, stderr := commandLine(t, "info", "--json")
	var s systemReport
	if err := json.Unmarshal([]byte(stdout), &s); status != 0 || stderr != "" || err != nil {
		t.Fatalf("status %d, stderr %q, error %v", status, stderr, err)
	}
	if s.OS == "" || s.LibraryABI == "" || s.Devices == nil {
		t.Errorf("got %+v", s)
	}
	if status, stdout, _ := commandLine(t, "info"); status != 0 || !strings.Contains(stdout, "ABI "+s.LibraryABI) {
		t.Errorf("status %d, stdout %q", status, stdout)
	}
}

func TestInfoOfNobody(t *testing.T) {
	status, stdout, stderr := commandLine(t, "info", "no-such-driver")
	if status != 3 || stdout != "" || !strings.Contains(stderr, "no-such-driver") {
		t.Errorf("status %d, want 3; stdout %q, stderr %q", status, stdout, stderr)
	}
	status, stdout, _ = commandLine(t, "info", "--json", "no-such-driver")
	if status != 3 || !json.Valid([]byte(stdout)) || !strings.Contains(stdout, `"error"`) {
		t.Errorf("status %d, want 3; stdout %q", status, stdout)
	}
	if status, _, _ := commandLine(t, "info", "a", "b"); status != 2 {
		t.Errorf("two names: status %d, want 2", status)
	}
}

// TestAskDevices asks files that are no devices.
func TestAskDevices(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := askDevices([]string{filepath.Join(dir, "a"), filepath.Join(dir, "b")})
	if len(got) != 2 || got[0].Name != "a" || got[0].Error == "" || got[0].unavailable() == nil {
		t.Errorf("got %+v", got)
	}
	if none := askDevices(nil); none == nil || len(none) != 0 {
		t.Errorf("no device: %v", none)
	}
}

func TestMemlock(t *testing.T) {
	const header = "Limit                     Soft Limit           Hard Limit           Units\n"
	for name, test := range map[string]struct {
		limits, status string
		bytes          uint64 // 0: none
		words          string
	}{
		"limit":      {header + "Max locked memory         8388608              8388608              bytes\n", "CapEff:\t0000000000000000\n", 8 << 20, "8.0 MiB (RLIMIT_MEMLOCK)"},
		"none":       {header + "Max locked memory         unlimited            unlimited            bytes\n", "", 0, "no limit (RLIMIT_MEMLOCK)"},
		"capability": {header + "Max locked memory         65536                65536                bytes\n", "CapEff:\t0000000000004000\n", 0, "no limit (CAP_IPC_LOCK)"},
		"other caps": {header + "Max locked memory         65536                65536                bytes\n", "CapEff:\t00000000ffffbfff\n", 65536, "64 KiB (RLIMIT_MEMLOCK)"},
		"no proc":    {"", "", 0, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			n, words := memlock(test.limits, test.status)
			if words != test.words || (n == nil) != (test.bytes == 0) || n != nil && *n != test.bytes {
				t.Errorf("got %v, %q; want %d, %q", n, words, test.bytes, test.words)
			}
		})
	}
}

func TestFeatureNames(t *testing.T) {
	if got := featureNames(kshm.FeatureRings | 1<<40); !slices.Equal(got, []string{"rings", "unknown 0x10000000000"}) {
		t.Errorf("got %q", got)
	}
}

func TestInfoShowsADriver(t *testing.T) {
	s := systemReport{Devices: []deviceReport{{Name: "mine", Driver: "mine", ABI: "1.0", MinLength: 1, MaxLength: 1 << 20, PageSize: 4096}}}
	var b bytes.Buffer
	if err := s.print(&b, false); err != nil || !strings.Contains(b.String(), "1 to 1,048,576 bytes") {
		t.Errorf("error %v, got\n%s", err, &b)
	}
}
