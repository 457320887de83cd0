// SPDX-License-Identifier: MIT

//go:build !linux && !windows

package sys

import (
	"context"
	"errors"

	"kshm/internal/abi"
)

// Device cannot be had on this system.
type Device struct{}

// OpenDevice always fails.
func OpenDevice(string) (*Device, error) { return nil, errors.ErrUnsupported }

// Info always fails.
func (*Device) Info(*abi.Info) error { return errors.ErrUnsupported }

// Share always fails.
func (*Device) Share([]byte, *abi.ShareArgs) (*Share, error) { return nil, errors.ErrUnsupported }

// Control always fails.
func (*Device) Control(context.Context, uint32, []byte, []byte) (int, error) {
	return 0, errors.ErrUnsupported
}

// Close does nothing.
func (*Device) Close() error { return nil }

// Share cannot be had on this system.
type Share struct{}

// Kick always fails.
func (*Share) Kick() error { return errors.ErrUnsupported }

// Done always fails.
func (*Share) Done() (uint32, error) { return 0, errors.ErrUnsupported }

// Stats always fails.
func (*Share) Stats(*abi.Stats) error { return errors.ErrUnsupported }

// NextEvents always fails.
func (*Share) NextEvents() (uint64, error) { return 0, errors.ErrUnsupported }

// Close does nothing.
func (*Share) Close() error { return nil }
