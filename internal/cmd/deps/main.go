// SPDX-License-Identifier: MIT

// Command deps fetches the tools that the project's tests need, keeps the file
// that pins them, and builds kernel modules against a fetched kernel.
//
//	go run ./internal/cmd/deps get qemu kernel-6.1
//	go run ./internal/cmd/deps lock [COMPONENT...]
//	go run ./internal/cmd/deps with cc perl qemu -- make ...
//	go run ./internal/cmd/deps checkpatch driver/linux/*.c
//	go run ./internal/cmd/deps build-module -kernel 6.1 -o build/6.1 driver/linux driver/samples/digest
//	go run ./internal/cmd/deps kernel debug-6.12
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"kshm/internal/deps"
)

const usage = `usage: deps get COMPONENT...           fetch and unpack; prints each folder
       deps list                       name the components
       deps with [-try] NEED... -- COMMAND...   run a command with what it needs
       deps lock [COMPONENT...]        pin the archive's current versions
       deps build-module -h            build kernel modules
       deps kernel -h                  build kernels from source
       deps checkpatch FILE...         check kernel C with the kernel's style checker
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	var status statusError
	switch {
	case err == nil:
	case errors.As(err, &status):
		os.Exit(int(status))
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case errors.Is(err, deps.ErrUnavailable):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch verb, args := args[0], args[1:]; verb {
	case "get":
		return get(ctx, args)
	case "list":
		for _, c := range deps.Components() {
			fmt.Println(c.Name)
		}
		return nil
	case "with":
		return with(ctx, args)
	case "lock":
		return deps.UpdateLock(ctx, os.Stderr, args...)
	case "checkpatch":
		return checkpatch(ctx, args)
	case "build-module":
		return buildModule(ctx, args)
	case "kernel":
		return buildKernels(ctx, args)
	}
	return errUsage
}

// checkpatch runs the kernel's style checker. Arguments that begin with a dash
// are its own.
func checkpatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	env, err := deps.Provide(ctx, os.Stderr, "perl")
	if err != nil {
		return err
	}
	dir, err := deps.Ensure(ctx, os.Stderr, deps.Checkpatch)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "perl", append([]string{filepath.Join(dir, "scripts/checkpatch.pl"), "--no-tree", "--quiet", "--file"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("deps: checkpatch found something: %w", err)
	}
	return nil
}

func get(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return errUsage
	}
	for _, name := range names {
		c, ok := deps.Lookup(name)
		if !ok {
			return fmt.Errorf("deps: no component is called %q; see deps list", name)
		}
		dir, err := deps.Ensure(ctx, os.Stderr, c)
		if err != nil {
			return err
		}
		fmt.Println(dir)
	}
	return nil
}
