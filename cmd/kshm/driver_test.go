// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestDriverUsage(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.sys")
	if err := os.WriteFile(text, []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no name":    {[]string{"start"}, "0 arguments"},
		"no path":    {[]string{"install", "digest"}, "1 arguments"},
		"a path":     {[]string{"stop", `\\.\digest`}, "no driver's name"},
		"no image":   {[]string{"install", "digest", text}, "is no driver image"},
		"no file":    {[]string{"install", "digest", text + ".none"}, "does not exist"},
		"other flag": {[]string{"start", "--end-shares", "digest"}, "unknown flag"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := commandLine(t, append([]string{"driver"}, test.args...)...)
			if status != 2 || stdout != "" || !strings.Contains(stderr, test.want) {
				t.Errorf("status %d, want 2; stdout %q; stderr %q, want %q in it", status, stdout, stderr, test.want)
			}
		})
	}
}

func TestDriverElsewhere(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // driver/test/windows goes through all verbs there
	}
	for _, verb := range []string{"start", "stop", "remove"} {
		status, stdout, stderr := commandLine(t, "driver", verb, "digest")
		if status != 3 || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d, want 3; stdout %q, stderr %q", verb, status, stdout, stderr)
		}
	}
}
