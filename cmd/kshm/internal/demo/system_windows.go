// SPDX-License-Identifier: MIT

package demo

import (
	"context"
	"fmt"

	"golang.org/x/sys/windows"
)

func kernelRelease() string {
	v := windows.RtlGetVersion()
	return fmt.Sprintf("Windows %d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
}

// A share is a request of its process, which nobody inherits.
func (r *runner) killChild(ctx context.Context) error { return r.killFull(ctx) }
