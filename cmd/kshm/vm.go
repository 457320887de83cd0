// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kshm/internal/vm"
)

// vmFlags are the flags of `kshm vm run` as they are typed.
type vmFlags struct {
	kernel, modulesDir, log, stdin string
	modules, kmods, files, collect []string
	env, append                    []string
	mem, smp, hugepages            int
	timeout                        time.Duration
	verbose                        bool
}

func newVMCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "vm",
		Short: "Try a driver in a virtual machine",
	}
	c.AddCommand(newVMRunCommand())
	return c
}

func newVMRunCommand() *cobra.Command {
	var f vmFlags
	c := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARGUMENT...]",
		Short: "Run a static program in a virtual machine with kernel modules loaded",
		Long: `Boots a stock Debian kernel in QEMU, loads the modules, runs the program as root
and unloads the modules. Nothing is installed; no right is needed. The first run
fetches QEMU and the kernel (about 76 MB).

The status is the program's. If the program succeeds, the status is 1 when the
kernel complained in its log, a page stayed pinned, a module could not be loaded
or unloaded, or the kernel died; standard error says which. It is 3 when this
machine lacks something, such as a network for the first run.

The program must be static: build Go with CGO_ENABLED=0, C with -static. A module
must have been built against the headers of the kernel it runs on.`,
		Example: `  kshm vm run --module my.ko -- ./mytest -v
  kshm vm run --kernel 6.12 --module kshm.ko --module my.ko,debug=1 --file testdata:/data -- ./mytest
  kshm vm run --kernel ./bzImage -- ./mytest
  kshm vm run --kernel uml-7.2 -- ./mytest`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("no program to run; give one after --")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	c.Flags().SetInterspersed(false)
	f.register(c)
	return c
}

func (f *vmFlags) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.kernel, "kernel", vm.KernelNames()[0], "kernel to boot: "+strings.Join(vm.KernelNames(), ", ")+", built from source "+strings.Join(vm.BuiltNames(), ", ")+", or the path of a bzImage or user-mode Linux")
	fs.StringVar(&f.modulesDir, "kernel-modules", "", "folder with the modules of a kernel given by path")
	fs.StringArrayVar(&f.modules, "module", nil, "`FILE.ko[,name=value...]` to load; repeatable, loaded in order")
	fs.StringArrayVar(&f.kmods, "kmod", nil, "`name` of a module of the kernel itself to load first; repeatable")
	fs.StringArrayVar(&f.files, "file", nil, "`HOST:GUEST` file or folder to copy in; repeatable")
	fs.StringArrayVar(&f.collect, "collect", nil, "`GUEST:HOST` file or folder to copy out afterwards, if it exists; repeatable")
	fs.StringArrayVar(&f.env, "env", nil, "`NAME=value` for the program; repeatable")
	fs.StringArrayVar(&f.append, "append", nil, "kernel `parameter`; repeatable")
	fs.StringVar(&f.stdin, "stdin", "", "`file` for the program's standard input")
	fs.StringVar(&f.log, "log", "", "`file` for the kernel log")
	fs.IntVar(&f.mem, "mem", 1024, "memory in MiB")
	fs.IntVar(&f.smp, "smp", 2, "number of processors")
	fs.IntVar(&f.hugepages, "hugepages", 0, "huge pages to reserve at boot")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "time after which the machine is killed")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "say what was booted and how long it took")
}

func (f *vmFlags) run(c *cobra.Command, args []string) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	o, err := f.options(args)
	if err != nil {
		return usageError{err}
	}
	o.Stdout, o.Stderr, o.Progress = c.OutOrStdout(), c.ErrOrStderr(), c.ErrOrStderr()
	if o.Kernel, err = vm.FindKernel(ctx, o.Progress, f.kernel, f.modulesDir); err != nil {
		return err
	}
	res, err := vm.Run(ctx, o)
	if res != nil && f.log != "" {
		err = errors.Join(err, os.WriteFile(f.log, res.Log, 0o644))
	}
	if f.verbose && res != nil {
		fmt.Fprintf(c.ErrOrStderr(), "kernel %s (%s), program started after %.1f s, %.1f s in all\n",
			o.Kernel.Release, res.Accel, res.Ready.Seconds(), res.Elapsed.Seconds())
	}
	if res != nil && res.Exit != 0 {
		return statusError{res.Exit, err}
	}
	return err
}

func (f *vmFlags) options(args []string) (vm.Options, error) {
	if names := slices.Concat(vm.KernelNames(), vm.BuiltNames()); !vm.IsPath(f.kernel) && !slices.Contains(names, f.kernel) {
		return vm.Options{}, fmt.Errorf("--kernel %s: want %s, or a path", f.kernel, strings.Join(names, ", "))
	}
	o := vm.Options{
		Program: args[0], Args: args[1:], Env: f.env, Stdin: f.stdin,
		KernelModules: f.kmods, Cmdline: f.append,
		Memory: f.mem, CPUs: f.smp, HugePages: f.hugepages,
	}
	for _, m := range f.modules {
		o.Modules = append(o.Modules, vm.ParseModule(m))
	}
	for _, s := range f.files {
		host, guest, ok := strings.Cut(s, ":")
		if !ok || !strings.HasPrefix(guest, "/") {
			return o, fmt.Errorf("--file %s: want HOST:GUEST with an absolute path in the guest", s)
		}
		o.Files = append(o.Files, vm.File{Host: host, Guest: guest})
	}
	for _, s := range f.collect {
		guest, host, ok := strings.Cut(s, ":")
		if !ok || !strings.HasPrefix(guest, "/") {
			return o, fmt.Errorf("--collect %s: want GUEST:HOST with an absolute path in the guest", s)
		}
		o.Collect = append(o.Collect, vm.File{Host: host, Guest: guest})
	}
	return o, nil
}

// A statusError ends the command with the status of a program that it ran.
type statusError struct {
	status int
	err    error // nil if the status says it all
}

func (e statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e statusError) Unwrap() error { return e.err }
