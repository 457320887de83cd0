// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kshm"
	"kshm/cmd/kshm/internal/demo"
	"kshm/internal/deps"
	"kshm/internal/vm"
)

// demoFlags are the flags of `kshm demo` as they are typed.
type demoFlags struct {
	path, kernel string
	json         bool
}

func newDemoCommand() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo [FILE]",
		Short: "Share memory with a driver in a real kernel and prove what happens",
		Long: `Streams FILE (the running program if there is none) through memory that is shared
with the sample driver digest, and compares the kernel's SHA-256 with Go's. Shows
the steps of the recipe, a counter that the kernel writes and the program reads
without a system call, and that no page is left pinned: after the end of the
share, and after kill -9 of a process that holds one.

It runs on this machine's kernel if the driver is loaded there, otherwise on a
stock Debian kernel in a virtual machine, which takes no right and changes
nothing. The first run fetches QEMU and the kernel (about 76 MB) and compiles the
modules from the repository around the working directory. On Windows there is no
virtual machine: install and start the driver first, with kshm driver.

The status is 0 if all was proven that can be proven here, 1 if something is
wrong, 2 if FILE cannot be used, 3 if this machine lacks something.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("one file at most, not %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	c.Flags().StringVar(&f.path, "path", "auto", "where: native, vm, bpf, or auto to find out which of the first two")
	c.Flags().StringVar(&f.kernel, "kernel", vm.KernelNames()[0], "kernel of the virtual machine: "+strings.Join(vm.KernelNames(), ", "))
	c.Flags().BoolVar(&f.json, "json", false, "print the outcome as JSON, and no steps")
	return c
}

func (f *demoFlags) check() error {
	if !slices.Contains([]string{"auto", "native", "vm", "bpf"}, f.path) {
		return fmt.Errorf("--path %s: want auto, native, vm or bpf", f.path)
	}
	if !slices.Contains(vm.KernelNames(), f.kernel) {
		return fmt.Errorf("--kernel %s: want %s", f.kernel, strings.Join(vm.KernelNames(), ", "))
	}
	return nil
}

func (f *demoFlags) run(c *cobra.Command, args []string) error {
	if err := f.check(); err != nil {
		return usageError{err}
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	screen := demo.NewScreen(c.OutOrStdout(), terminal(c.ErrOrStderr()))
	o := demo.Options{
		Path: f.path, Kernel: f.kernel, Progress: c.ErrOrStderr(), Emit: screen.Show,
		Child: []string{self, demoPart, demoChild}, Guest: []string{demoPart, "guest"},
	}
	if len(args) == 1 {
		o.File = args[0]
	}
	if f.json {
		o.Emit = func(demo.Event) {}
	}
	if f.path == "bpf" {
		o.Child = []string{self, demoPart, "share-bpf"}
		return f.runBPF(ctx, c.OutOrStdout(), screen, o)
	}
	report, err := demo.Do(ctx, o)
	screen.Finish()
	if ctx.Err() != nil {
		return errors.New("interrupted") // what broke because of it is no news
	}
	if report != nil {
		if e := f.show(c.OutOrStdout(), screen, report, err); err == nil {
			err = e
		}
	}
	return explainDemo(err)
}

func (f *demoFlags) show(w io.Writer, s *demo.Screen, r *demo.Report, err error) error {
	if !f.json {
		s.Summary(r)
		return nil
	}
	if err != nil {
		r.Failure = err.Error()
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// demoChild is the part that is killed: where a share is a descriptor, it has
// an heir; on Windows, it has all the shares that the user may have.
var demoChild = map[bool]string{false: "share", true: "fill"}[runtime.GOOS == "windows"]

// runBPF is run with an eBPF object as the driver.
func (f *demoFlags) runBPF(ctx context.Context, w io.Writer, screen *demo.Screen, o demo.Options) error {
	r, err := demo.DoBPF(ctx, o)
	screen.Finish()
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case errors.Is(err, kshm.ErrPermission), errors.Is(err, kshm.ErrNotSupported):
		return statusError{3, err}
	case r == nil:
		return explainDemo(err)
	case err != nil:
		r.Failure = err.Error()
	}
	if !f.json {
		screen.SummaryBPF(r)
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return errors.Join(err, e.Encode(r))
}

// explainDemo says what kind of trouble it is, and what to do about it.
func explainDemo(err error) error {
	var source *demo.SourceError
	switch {
	case errors.As(err, &source):
		return usageError{err}
	case errors.Is(err, deps.ErrUnavailable):
		return fmt.Errorf("%w; `go run ./examples/recipe` shows the recipe without it, on a model of the kernel side", err)
	}
	return err
}

// terminal returns w if it is one, and nil otherwise.
func terminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// demoPart is the demo's hidden half: what it runs in other processes.
const demoPart = "demo-part"

func newDemoPartCommand() *cobra.Command {
	c := &cobra.Command{Use: demoPart, Hidden: true}
	self := func(part ...string) ([]string, error) {
		path, err := os.Executable()
		return append([]string{path, demoPart}, part...), err
	}
	c.AddCommand(
		&cobra.Command{Use: "guest SIZE", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			size, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usageError{err}
			}
			child, err := self(demoChild)
			if err != nil {
				return err
			}
			if demo.Guest(c.Context(), size, child, os.Stdout) != nil {
				return statusError{1, nil} // it has told the host why
			}
			return nil
		}},
		&cobra.Command{Use: "share DEVICE", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			holder, err := self("hold")
			if err != nil {
				return err
			}
			return demo.Share(args[0], holder)
		}},
		&cobra.Command{Use: "fill DEVICE", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			return demo.Fill(args[0])
		}},
		&cobra.Command{Use: "share-bpf", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return demo.ShareBPF() }},
		&cobra.Command{Use: "hold", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			return demo.Hold(os.NewFile(3, "share"), os.Stdin, os.Stdout)
		}},
	)
	return c
}
