// SPDX-License-Identifier: MIT

//go:build !linux

package wine

import (
	"os/exec"

	"kshm/internal/deps"
)

func separate(*exec.Cmd) error {
	return &deps.UnavailableError{What: "Wine", Why: "it is run on Linux only"}
}

// Inside does nothing on this system.
func Inside() {}
