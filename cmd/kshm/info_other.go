// SPDX-License-Identifier: MIT

//go:build !windows

package main

import (
	"os"
	"path/filepath"
	"strings"
)

// devicePlace is where drivers are found.
const devicePlace = "/dev/kshm"

func deviceNames() []string {
	paths, _ := filepath.Glob(devicePlace + "/*")
	return paths
}

func (s *systemReport) survey() {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	s.Kernel = strings.TrimSpace(string(release))
	_, err := os.Stat("/sys/module/kshm")
	loaded := err == nil
	s.Module = &loaded
	limits, _ := os.ReadFile("/proc/self/limits")
	status, _ := os.ReadFile("/proc/self/status")
	s.Memlock, s.MemlockFor = memlock(string(limits), string(status))
}
