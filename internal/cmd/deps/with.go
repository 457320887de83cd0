// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"kshm/internal/deps"
)

// with runs a command that needs some tools. Where they cannot be had, one line
// names what is missing. Then the command does not run, or runs without with
// -try; where CI=true, that is a failure.
func with(ctx context.Context, args []string) error {
	try := len(args) > 0 && args[0] == "-try"
	if try {
		args = args[1:]
	}
	dashes := slices.Index(args, "--")
	if dashes < 0 || dashes+1 == len(args) {
		return errUsage
	}
	needs, args := args[:dashes], args[dashes+1:]
	env, err := deps.Provide(ctx, os.Stderr, needs...)
	switch {
	case err == nil:
	case !errors.Is(err, deps.ErrUnavailable) || os.Getenv("CI") == "true":
		return err
	case try:
		fmt.Fprintf(os.Stderr, "RUN IN PART: %s: %s\n", strings.Join(args, " "), oneLine(err))
	default:
		fmt.Fprintf(os.Stderr, "NOT RUN: %s: %s\n", strings.Join(args, " "), oneLine(err))
		return nil
	}
	cmd := exec.Command(args[0], args[1:]...) // an interrupt reaches it by itself
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if exit, ok := err.(*exec.ExitError); ok && exit.Exited() {
		return statusError(exit.ExitCode())
	}
	return err
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// A statusError is the status of a command that has said itself what is wrong.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }
