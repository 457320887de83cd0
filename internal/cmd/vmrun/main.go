// SPDX-License-Identifier: MIT

// Command vmrun runs a Go test binary in a virtual machine, with kernel modules
// loaded around it:
//
//	CGO_ENABLED=0 go test -exec "$PWD/build/vmrun -module $PWD/build/6.1/kshm.ko" ./...
//
// Arguments, the package's testdata and the environment variables that matter
// to tests come along; profiles and coverage come back. It ends with the test's
// status, or with 1 if the test passed but the kernel complained, a page stayed
// pinned or a module could not be unloaded. It ends with 3 if the machine lacks
// what it takes to boot.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"kshm/internal/deps"
	"kshm/internal/vm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

type flags struct {
	kernel  string
	modules string
	log     string
	timeout time.Duration
	verbose bool
	o       vm.Options
}

func run(ctx context.Context, args []string) int {
	f, args, err := parse(args)
	if err != nil {
		return 2
	}
	if f.o.Kernel, err = vm.FindKernel(ctx, os.Stderr, f.kernel, f.modules); err != nil {
		return explain(err)
	}
	if f.timeout == 0 {
		f.timeout = 15 * time.Minute
		if f.o.Kernel.Debug {
			f.timeout *= 3
		}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := f.o.ForTest(args[0], args[1:]); err != nil {
		return explain(err)
	}
	f.o.Stdout, f.o.Stderr, f.o.Progress = os.Stdout, os.Stderr, os.Stderr
	res, err := vm.Run(ctx, f.o)
	if res != nil && f.log != "" {
		err = errors.Join(err, os.WriteFile(f.log, res.Log, 0o644))
	}
	if err != nil {
		code := explain(err)
		if res != nil && res.Exit != 0 {
			code = res.Exit
		}
		return code
	}
	if f.verbose {
		fmt.Fprintf(os.Stderr, "vmrun: kernel %s, %s, program started after %.1f s, %.1f s in all\n", f.o.Kernel.Release, res.Accel, res.Ready.Seconds(), res.Elapsed.Seconds())
		if res.Foreign > 0 {
			fmt.Fprintf(os.Stderr, "vmrun: %d reports of data races name none of the modules and do not count\n", res.Foreign)
		}
	}
	return res.Exit
}

func explain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	if errors.Is(err, deps.ErrUnavailable) {
		return 3
	}
	return 1
}

func parse(args []string) (*flags, []string, error) {
	f := new(flags)
	fs := flag.NewFlagSet("vmrun", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: vmrun [flags] program [arguments]")
		fs.PrintDefaults()
	}
	fs.StringVar(&f.kernel, "kernel", vm.KernelNames()[0], "kernel: "+strings.Join(slices.Concat(vm.KernelNames(), vm.BuiltNames()), ", ")+", or the path of a kernel image")
	fs.StringVar(&f.modules, "kernel-modules", "", "`folder` with the modules of a kernel given by path")
	fs.Func("module", "`file.ko[,name=value...]` to load, repeatable, in order", func(s string) error {
		f.o.Modules = append(f.o.Modules, vm.ParseModule(s))
		return nil
	})
	fs.Func("kmod", "`name` of a module of the kernel itself to load first, repeatable", func(s string) error {
		f.o.KernelModules = append(f.o.KernelModules, s)
		return nil
	})
	fs.Func("file", "`host:guest` file or folder to copy in, repeatable", func(s string) error {
		host, guest, ok := strings.Cut(s, ":")
		if !ok {
			return errors.New("want host:guest")
		}
		f.o.Files = append(f.o.Files, vm.File{Host: host, Guest: guest})
		return nil
	})
	fs.Func("collect", "`host:guest` file or folder that the program writes, to copy out, repeatable", func(s string) error {
		host, guest, ok := strings.Cut(s, ":")
		if !ok {
			return errors.New("want host:guest")
		}
		f.o.Collect = append(f.o.Collect, vm.File{Host: host, Guest: guest})
		return nil
	})
	fs.Func("append", "kernel `parameter`, repeatable", func(s string) error {
		f.o.Cmdline = append(f.o.Cmdline, s)
		return nil
	})
	fs.IntVar(&f.o.Memory, "mem", 0, "memory in `MiB` (default 1024, 2048 with a debug kernel)")
	fs.IntVar(&f.o.CPUs, "smp", 0, "processors (default 2, 1 with a debug kernel that is a program)")
	fs.IntVar(&f.o.HugePages, "hugepages", 0, "huge pages to reserve")
	fs.StringVar(&f.log, "log", "", "`file` for the kernel log")
	fs.DurationVar(&f.timeout, "timeout", 0, "after which the machine is killed (default 15m, 45m with a debug kernel)")
	fs.BoolVar(&f.verbose, "v", false, "say how long it took")
	fs.SetOutput(os.Stderr)
	if err := fs.Parse(args); err != nil {
		return nil, nil, err
	}
	if fs.NArg() == 0 {
		fs.Usage()
		return nil, nil, flag.ErrHelp
	}
	return f, fs.Args(), nil
}
