// SPDX-License-Identifier: MIT
//go:build !unix

package deps

import (
	"context"
	"os/exec"
)

func lockFile(context.Context, string) (func(), error) {
	return nil, &UnavailableError{What: "Debian packages", Why: "this is not a Debian system"}
}

func inGroup(*exec.Cmd) {}
