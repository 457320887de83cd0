// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A Build says how to compile kernel modules.
type Build struct {
	Kernel  Component // whose headers to build against
	Headers string    // a kernel build folder to use instead of Kernel's headers
	Dirs    []string  // folders with a Kbuild or Makefile, in order of dependency
	Out     string    // where the .ko files go
	Strict  bool      // every warning is an error
	Sparse  bool      // check with sparse as well
	Make    []string  // further arguments of make, such as "ARCH=um"
}

// BuildModules compiles the modules of every folder and returns the paths of
// the .ko files. A later folder may use the symbols that an earlier one exports.
//
// The sources stay clean: they are mirrored under Out/src at their place in the
// repository, with the headers of driver/include, and built there. Only what
// changed is built again.
func BuildModules(ctx context.Context, w io.Writer, b Build) ([]string, error) {
	out, err := filepath.Abs(b.Out)
	if err != nil {
		return nil, err
	}
	m, err := newMaker(ctx, w, b)
	if err != nil {
		return nil, err
	}
	m.args = append(m.args, b.Make...)
	return m.buildAll(ctx, w, b.Dirs, out)
}

// A maker runs make for a kernel's modules, on the machine or in a system that
// has been unpacked.
type maker struct {
	args    []string
	see     func(path string) string // how make sees a file of the machine
	command func(ctx context.Context, args ...string) *exec.Cmd
}

func newMaker(ctx context.Context, w io.Writer, b Build) (*maker, error) {
	headers := b.Headers
	if headers == "" {
		var err error
		if headers, err = headersOf(ctx, w, b.Kernel); err != nil {
			return nil, err
		}
	}
	args := []string{"--no-print-directory", fmt.Sprintf("-j%d", runtime.NumCPU()), "CONFIG_DEBUG_INFO_BTF_MODULES="}
	if b.Strict {
		args = append(args, "W=1", "KCFLAGS=-Werror")
	}
	if b.Headers == "" && b.Kernel.Entered {
		return makerInside(ctx, headers, args, b)
	}
	args = append(args, "-C", headers)
	env, err := toolchain(ctx, w, headers)
	if err != nil {
		return nil, err
	}
	if b.Headers == "" && b.Kernel.Arch == "arm64" {
		cross, err := Ensure(ctx, w, CrossARM64)
		if err != nil {
			return nil, err
		}
		env = runFrom(env, cross)
		args = append(args, "ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-")
	}
	if b.Strict {
		perl, err := providePerl(ctx, w) // checks the form of doc comments
		if err != nil {
			return nil, err
		}
		env = append(env, perl...)
	}
	if b.Sparse {
		dir, err := Ensure(ctx, w, Sparse)
		if err != nil {
			return nil, err
		}
		args = append(args, "C=2", "CHECK="+filepath.Join(dir, "usr/bin/sparse"), "CF=-Wsparse-error")
	}
	return &maker{args, filepath.Clean, func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "make", args...)
		cmd.Path, cmd.Env = lookPath("make", env), env
		return cmd
	}}, nil
}

func (m *maker) buildAll(ctx context.Context, w io.Writer, dirs []string, out string) ([]string, error) {
	var made, symbols []string
	for _, dir := range dirs {
		src, err := mirrorTree(dir, filepath.Join(out, "src"))
		if err != nil {
			return nil, fmt.Errorf("deps: copy %s: %w", dir, err)
		}
		cmd := m.command(ctx, append(slices.Clone(m.args), "M="+m.see(src), "KBUILD_EXTRA_SYMBOLS="+strings.Join(symbols, " "), "modules")...)
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("deps: build the modules of %s: %w", dir, err)
		}
		symbols = append(symbols, m.see(filepath.Join(src, "Module.symvers")))
		kos, err := modulesMade(src)
		if err != nil {
			return nil, err
		}
		if len(kos) == 0 {
			return nil, fmt.Errorf("deps: %s made no module", dir)
		}
		for _, ko := range kos {
			to := filepath.Join(out, filepath.Base(ko))
			if err := copyChanged(ko, to); err != nil {
				return nil, fmt.Errorf("deps: %w", err)
			}
			made = append(made, to)
		}
	}
	return made, nil
}

// modulesMade returns the modules that the folder makes. Others that lie there
// are of a time when they had other names.
func modulesMade(src string) ([]string, error) {
	order, err := os.ReadFile(filepath.Join(src, "modules.order"))
	if err != nil {
		return nil, fmt.Errorf("deps: %w", err)
	}
	var kos []string
	for _, line := range strings.Fields(string(order)) {
		name := filepath.Base(line) // ends in .ko, or since 6.4 in .o
		kos = append(kos, filepath.Join(src, strings.TrimSuffix(name, filepath.Ext(name))+".ko"))
	}
	return kos, nil
}

// headersOf returns the folder that make -C wants.
func headersOf(ctx context.Context, w io.Writer, kernel Component) (string, error) {
	dir, err := Ensure(ctx, w, kernel)
	if err != nil {
		return "", err
	}
	configs, err := filepath.Glob(filepath.Join(dir, "usr/src/linux-headers-*/.config"))
	if err != nil || len(configs) != 1 {
		return "", fmt.Errorf("deps: want one set of headers in %s, found %d", dir, len(configs))
	}
	return filepath.Dir(configs[0]), nil
}

// toolchain returns the environment to compile modules in: the machine's own if
// it has all it takes, otherwise one that finds a fetched compiler first.
func toolchain(ctx context.Context, w io.Writer, headers string) ([]string, error) {
	env := append(os.Environ(), "LC_ALL=C")
	if haveTools(ctx, headers) {
		return env, nil
	}
	dir, err := Ensure(ctx, w, Toolchain)
	if err != nil {
		return nil, err
	}
	return runFrom(env, dir), nil
}

// runFrom returns env with the programs and libraries of an unpacked folder
// before all others.
func runFrom(env []string, dir string) []string {
	libs := []string{filepath.Join(dir, "usr/lib/x86_64-linux-gnu"), filepath.Join(dir, "lib/x86_64-linux-gnu")}
	if before := lookUp("LD_LIBRARY_PATH", env); before != "" {
		libs = append(libs, before)
	}
	return append(env, "PATH="+filepath.Join(dir, "usr/bin")+":"+lookUp("PATH", env), "LD_LIBRARY_PATH="+strings.Join(libs, ":"))
}

// haveTools tries the machine's tools, and those of the headers, which want a
// library that not every machine has.
func haveTools(ctx context.Context, headers string) bool {
	for _, argv := range [][]string{
		{"make", "--version"}, {"gcc-12", "--version"}, {"ld", "--version"}, {"objcopy", "--version"},
		{filepath.Join(headers, "tools/objtool/objtool"), "--help"},
	} {
		err := exec.CommandContext(ctx, argv[0], argv[1:]...).Run()
		if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() == 127) {
			return false
		}
	}
	return true
}

// lookUp returns a variable of env, where the last one counts.
func lookUp(name string, env []string) (value string) {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// lookPath finds a command on the PATH of env.
func lookPath(name string, env []string) string {
	for _, dir := range filepath.SplitList(lookUp("PATH", env)) {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	return name
}
