// SPDX-License-Identifier: MIT

// Command kshm is the command line of the project.
//
// It ends with 0 if all went well, 1 if something failed, 2 if it was called
// wrongly and 3 if the machine lacks something, which it names. `kshm vm run`
// ends with the status of the program it ran.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"kshm/internal/deps"
)

func main() {
	os.Exit(execute(context.Background(), newRootCommand()))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "kshm",
		Short:         "Share memory with a kernel-mode driver",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newBenchCommand(), newDemoCommand(), newDemoPartCommand(), newDriverCommand(), newInfoCommand(), newVMCommand())
	return root
}

// execute runs the command and returns the status to end with.
func execute(ctx context.Context, root *cobra.Command) int {
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var status statusError
	if !errors.As(err, &status) || status.err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "%s: %v\n", c.CommandPath(), err)
	}
	var usage usageError
	switch {
	case status.status != 0:
		return status.status
	case errors.As(err, &usage):
		fmt.Fprintf(c.ErrOrStderr(), "Run '%s --help' for usage.\n", c.CommandPath())
		return 2
	case errors.Is(err, deps.ErrUnavailable):
		return 3
	}
	return 1
}

// A usageError says that the command was called wrongly.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }

func (e usageError) Unwrap() error { return e.err }
