// SPDX-License-Identifier: MIT

package deps

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
)

// A kernelMake builds one kernel in a folder of its own.
type kernelMake struct {
	kernel  BuiltKernel
	archive string // the source, packed
	source  string
	objects string
	env     []string
	args    []string
	w       io.Writer
}

func newKernelMake(ctx context.Context, w io.Writer, k BuiltKernel, work string) (*kernelMake, error) {
	dir, err := Ensure(ctx, w, k.Source)
	if err != nil {
		return nil, err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "usr/src/linux-source-*.tar.xz"))
	if err != nil || len(archives) != 1 {
		return nil, fmt.Errorf("want one source of a kernel in %s, found %d", dir, len(archives))
	}
	env, args, err := kernelTools(ctx, w)
	if err != nil {
		return nil, err
	}
	if work, err = filepath.Abs(work); err != nil {
		return nil, err
	}
	m := &kernelMake{
		kernel: k, archive: archives[0], w: w, env: env,
		source: filepath.Join(work, "source"), objects: filepath.Join(work, "objects"),
	}
	m.args = append(append([]string{"-s", "-C", m.source, "O=" + m.objects}, k.Make()...), args...)
	return m, os.MkdirAll(m.objects, 0o755)
}

// kernelTools returns the environment and the arguments with which make builds
// kernels: the machine's own tools, or fetched ones where it lacks some.
func kernelTools(ctx context.Context, w io.Writer) (env, args []string, err error) {
	cc, err := Provide(ctx, w, "cc")
	if err != nil {
		return nil, nil, err
	}
	env = append(append(os.Environ(), "LC_ALL=C", "KBUILD_BUILD_USER=kshm", "KBUILD_BUILD_HOST=kshm"), cc...)
	if haveKernelTools(ctx) {
		return env, nil, nil
	}
	tools, err := Ensure(ctx, w, KernelBuild)
	if err != nil {
		return nil, nil, err
	}
	compiler, err := Ensure(ctx, w, Toolchain)
	if err != nil {
		return nil, nil, err
	}
	const lib = "usr/lib/x86_64-linux-gnu"
	path := filepath.Join(tools, "usr/bin") + ":" + filepath.Join(compiler, "usr/bin") + ":" + os.Getenv("PATH")
	if bin := toolsDir(); bin != "" {
		path = bin + ":" + path // its gcc knows where its parts are
	}
	env = append(env, "PATH="+path,
		"LD_LIBRARY_PATH="+filepath.Join(tools, lib)+":"+filepath.Join(compiler, lib),
		"M4="+filepath.Join(tools, "usr/bin/m4"), "BISON_PKGDATADIR="+filepath.Join(tools, "usr/share/bison"))
	return env, []string{
		"LIBELF_FLAGS=-I" + filepath.Join(tools, "usr/include"),
		"LIBELF_LIBS=-L" + filepath.Join(tools, lib) + " -L" + filepath.Join(compiler, lib) + " -lelf",
	}, nil
}

// haveKernelTools reports whether the machine has what building a kernel takes.
func haveKernelTools(ctx context.Context) bool {
	for _, name := range []string{"make", "gcc", "ld", "bison", "flex", "bc", "xz"} {
		if exec.CommandContext(ctx, name, "--version").Run() != nil {
			return false
		}
	}
	cmd := exec.CommandContext(ctx, "gcc", "-E", "-x", "c", "-")
	cmd.Stdin = bytes.NewReader([]byte("#include <gelf.h>\n"))
	return cmd.Run() == nil
}

func (m *kernelMake) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, lookPath(name, m.env), args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = m.env, m.w, m.w
	inGroup(cmd) // else its compilers go on, in a folder that the next build takes
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[len(args)-1], err)
	}
	return nil
}

func (m *kernelMake) make(ctx context.Context, target ...string) error {
	args := append(append([]string{}, m.args...), fmt.Sprintf("-j%d", runtime.NumCPU()))
	return m.run(ctx, "make", append(args, target...)...)
}

// unpack puts the source in place and makes the changes to it.
func (m *kernelMake) unpack(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(m.source, "Makefile")); err == nil {
		return nil
	}
	fmt.Fprintf(m.w, "deps: building kernel %s; this takes a while, once\n", m.kernel.Name)
	tmp := m.source + ".new"
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	if err := m.run(ctx, "tar", "--strip-components=1", "-C", tmp, "-xf", m.archive); err != nil {
		return err
	}
	for _, c := range slices.Concat(changes, m.kernel.more) {
		if err := c.apply(tmp); err != nil {
			return err
		}
	}
	return os.Rename(tmp, m.source)
}

// A change to the source of a kernel.
type change struct{ file, old, new string }

// changes: kshm needs MMU_NOTIFIER, which nothing but other options can select.
var changes = []change{{
	"mm/Kconfig",
	"config MMU_NOTIFIER\n\tbool\n",
	"config MMU_NOTIFIER\n\tbool\n\tdefault y\n",
}}

// umlDebugging: a debug kernel saves a trace of the stack whenever memory is
// allocated or freed. User-mode Linux looks at each word of the stack for it,
// and then, without frame pointers, takes none. And it looks at mappings without
// saying that it reads under RCU.
var umlDebugging = []change{{
	"arch/um/kernel/stacktrace.c",
	"\tdump_trace(tsk, &dump_ops, trace);\n",
	"\tif (IS_ENABLED(CONFIG_FRAME_POINTER))\n\t\tdump_trace(tsk, &dump_ops, trace);\n",
}, {
	"arch/um/kernel/tlb.c",
	"\tfor_each_vma(vmi, vma)\n\t\tum_tlb_mark_sync(mm, vma->vm_start, vma->vm_end);\n",
	"\trcu_read_lock();\n\tfor_each_vma(vmi, vma)\n\t\tum_tlb_mark_sync(mm, vma->vm_start, vma->vm_end);\n\trcu_read_unlock();\n",
}}

func (c change) apply(source string) error {
	name := filepath.Join(source, c.file)
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if n := bytes.Count(b, []byte(c.old)); n != 1 {
		return fmt.Errorf("%s has %d places that look like %q, want 1", c.file, n, c.old)
	}
	return os.WriteFile(name, bytes.Replace(b, []byte(c.old), []byte(c.new), 1), 0o644)
}

func (m *kernelMake) compile(ctx context.Context) error {
	if m.kernel.Arch == "um" {
		return m.make(ctx, "all")
	}
	return m.make(ctx, "bzImage", "modules")
}
