// SPDX-License-Identifier: MIT

package demo

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSourceSpecialFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		fifo:                "not a regular file", // and is not waited for
		"/dev/zero":         "not a regular file",
		"/proc/self/status": "how long it is",
	} {
		if _, err := OpenSource(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}
