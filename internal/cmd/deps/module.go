// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"kshm/internal/deps"
)

func buildModule(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("build-module", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: deps build-module [flags] FOLDER... [-- MAKE ARGUMENT...]")
		fs.PrintDefaults()
	}
	kernel := fs.String("kernel", "6.1", "`version` of the kernel to build for")
	var b deps.Build
	fs.StringVar(&b.Out, "o", "", "`folder` for the modules (default build/KERNEL)")
	fs.StringVar(&b.Headers, "headers", "", "`folder` of a kernel build to use instead; needs -o")
	fs.BoolVar(&b.Strict, "strict", false, "build with W=1, every warning being an error")
	fs.BoolVar(&b.Sparse, "sparse", false, "check with sparse too")
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	for i, a := range fs.Args() {
		if a == "--" {
			b.Make = fs.Args()[i+1:]
			break
		}
		b.Dirs = append(b.Dirs, a)
	}
	if len(b.Dirs) == 0 {
		fs.Usage()
		return errUsage
	}
	var known bool
	if b.Kernel, known = deps.Lookup("kernel-" + *kernel); !known && b.Headers == "" {
		k, ok := deps.LookupKernel(*kernel)
		if !ok {
			return fmt.Errorf("deps: no kernel is called %q", *kernel)
		}
		dir, err := deps.EnsureKernel(ctx, os.Stderr, k, "")
		if err != nil {
			return err
		}
		b.Headers, b.Make = k.Headers(dir), append(k.Make(), b.Make...)
		if b.Out == "" {
			b.Out = filepath.Join(deps.Repo(), "build", *kernel)
		}
	}
	if b.Out == "" && b.Headers != "" {
		return fmt.Errorf("deps: -headers needs -o, to keep modules of different kernels apart")
	}
	if b.Out == "" {
		b.Out = filepath.Join(deps.Repo(), "build", *kernel)
	}
	made, err := deps.BuildModules(ctx, os.Stderr, b)
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(made, "\n"))
	return nil
}
