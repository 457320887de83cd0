// SPDX-License-Identifier: MIT

package main

import (
	"debug/pe"
	"errors"
	"fmt"
	"io/fs"
)

// checkImage tells a driver image from what cannot be one, before the system
// says the same in a number. Its errors are of type usageError.
func checkImage(path string) error {
	const subsystemNative = 1
	f, err := pe.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return usageError{fmt.Errorf("%s does not exist", path)}
	case errors.Is(err, fs.ErrPermission):
		return usageError{fmt.Errorf("%s cannot be read: %w", path, err)}
	case err != nil:
		return usageError{fmt.Errorf("%s is no driver image: %w", path, err)}
	}
	defer f.Close()
	h, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	switch {
	case !ok || f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 && f.Machine != pe.IMAGE_FILE_MACHINE_ARM64:
		return usageError{fmt.Errorf("%s is not for a 64-bit system", path)}
	case h.Subsystem != subsystemNative:
		return usageError{fmt.Errorf("%s is a program, not a driver", path)}
	}
	return nil
}
