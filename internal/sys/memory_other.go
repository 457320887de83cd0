// SPDX-License-Identifier: MIT

//go:build !linux && !windows

package sys

import "errors"

// Alloc always fails.
func Alloc(int, bool) ([]byte, error) { return nil, errors.ErrUnsupported }

// Free always fails.
func Free([]byte) error { return errors.ErrUnsupported }
