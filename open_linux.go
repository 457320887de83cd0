// SPDX-License-Identifier: MIT

package kshm

import (
	"fmt"
	"path/filepath"
	"strings"

	"kshm/internal/sys"
)

const deviceDir = "/dev/kshm"

func openTransport(name string, c openConfig) (Transport, error) {
	if c.codes {
		return nil, &OpError{Err: fmt.Errorf("%w: WithCodes is for Windows drivers", ErrNotSupported)}
	}
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join(deviceDir, name)
	}
	d, err := sys.OpenDevice(path)
	if err != nil {
		return nil, err
	}
	return newKernelTransport(d, "Linux module")
}
