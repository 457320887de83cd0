// SPDX-License-Identifier: MIT

// Command deps fetches the tools that the project's tests need, keeps the file
// that pins them, and builds kernel modules against a fetched kernel.
//
//	go run ./internal/cmd/deps get qemu kernel-6.1
//	go run ./internal/cmd/deps lock [COMPONENT...]
//	go run ./internal/cmd/deps build-module -kernel 6.1 -o build/6.1 driver/linux driver/samples/digest
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"kshm/internal/deps"
)

const usage = `usage: deps get COMPONENT...           fetch and unpack; prints each folder
       deps list                       name the components
       deps lock [COMPONENT...]        pin the archive's current versions
       deps build-module -h            build kernel modules
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil:
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
	case "lock":
		return deps.UpdateLock(ctx, os.Stderr, args...)
	case "build-module":
		return buildModule(ctx, args)
	}
	return errUsage
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
