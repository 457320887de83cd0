// SPDX-License-Identifier: MIT

//go:build !linux

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newBenchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "bench",
		Short: "Measure the rings (needs Linux)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("the bench needs Linux: %w", errors.ErrUnsupported)
		},
	}
}
