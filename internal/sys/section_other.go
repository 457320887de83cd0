// SPDX-License-Identifier: MIT

//go:build !unix && !windows

package sys

import "errors"

// Section cannot be had on this system.
type Section struct{}

// NewSection always fails.
func NewSection(int) (*Section, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Section) Close() error { return nil }

// View cannot be had on this system.
type View struct{ Bytes []byte }

// Map always fails.
func (*Section) Map(int, int, bool) (*View, error) { return nil, errors.ErrUnsupported }

// Deny always fails.
func (*View) Deny() error { return errors.ErrUnsupported }

// Unmap always fails.
func (*View) Unmap() error { return errors.ErrUnsupported }
