// SPDX-License-Identifier: MIT

//go:build !windows

package demo

import (
	"context"
	"os"
	"strings"
)

func kernelRelease() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(b))
}

func (r *runner) killChild(ctx context.Context) error { return r.killWithHeir(ctx) }
