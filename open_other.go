// SPDX-License-Identifier: MIT

//go:build !linux && !windows

package kshm

import (
	"fmt"
	"runtime"
)

func openTransport(string, openConfig) (Transport, error) {
	return nil, &OpError{Err: fmt.Errorf("%w: no kernel side on %s", ErrNotSupported, runtime.GOOS),
		Remedy: "package kshm/kshmtest models one anywhere"}
}
