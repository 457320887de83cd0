// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"kshm/internal/deps"
)

// buildKernels makes sure that the named kernels are built and prints where
// they are.
func buildKernels(ctx context.Context, args []string) error {
	var names []string
	for _, k := range deps.BuiltKernels() {
		names = append(names, k.Name)
	}
	fs := flag.NewFlagSet("kernel", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "usage: deps kernel [-work FOLDER] NAME...\nNAME is one of %s\n", strings.Join(names, ", "))
		fs.PrintDefaults()
	}
	work := fs.String("work", "", "`folder` to build in and to leave as it is; for one kernel")
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	if fs.NArg() == 0 || *work != "" && fs.NArg() > 1 {
		fs.Usage()
		return errUsage
	}
	for _, name := range fs.Args() {
		k, ok := deps.LookupKernel(name)
		if !ok {
			return fmt.Errorf("deps: no kernel to build is called %q; there are %s", name, strings.Join(names, ", "))
		}
		dir, err := deps.EnsureKernel(ctx, os.Stderr, k, *work)
		if err != nil {
			return err
		}
		fmt.Println(dir)
	}
	return nil
}
