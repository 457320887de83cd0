// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Provide makes sure that every named thing can be used and returns the
// environment variables, as "NAME=value", that a command needs to find it.
//
// A name is a component, "cc" for a compiler of user-mode C with sanitizers, or
// "perl" for a complete perl. The last two are the machine's own if it has
// them, so that nothing is fetched in vain. The error satisfies
// errors.Is(err, ErrUnavailable) when the environment lacks something.
func Provide(ctx context.Context, w io.Writer, names ...string) ([]string, error) {
	var env []string
	for _, name := range names {
		var more []string
		var err error
		switch name {
		case "cc":
			more, err = provideCC(ctx, w)
		case "perl":
			more, err = providePerl(ctx, w)
		default:
			c, ok := Lookup(name)
			if !ok {
				return nil, fmt.Errorf("deps: no component is called %q", name)
			}
			_, err = Ensure(ctx, w, c)
		}
		if err != nil {
			return nil, err
		}
		env = append(env, more...)
	}
	return env, nil
}

// provideCC puts a gcc on the PATH. A fetched one comes as a script, because a
// compiler that is not installed has to be told where everything is. What it
// makes holds the sanitizers in itself and runs on the machine's C library.
func provideCC(ctx context.Context, w io.Writer) ([]string, error) {
	if canSanitize(ctx) {
		return nil, nil
	}
	tools, err := Ensure(ctx, w, Toolchain)
	if err != nil {
		return nil, err
	}
	sysroot, err := Ensure(ctx, w, CLibrary)
	if err != nil {
		return nil, err
	}
	script := fmt.Sprintf("#!/bin/sh\n"+
		"# Made by internal/deps: the fetched compiler, told where it lies.\n"+
		"PATH='%[1]s/usr/bin':\"$PATH\" LD_LIBRARY_PATH='%[1]s/usr/lib/x86_64-linux-gnu' \\\n"+
		"exec gcc-12 --sysroot='%[2]s' -static-libasan -static-libubsan -static-libtsan \"$@\"\n", tools, sysroot)
	bin := filepath.Join(filepath.Dir(tools), "cc")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, fmt.Errorf("deps: %w", err)
	}
	if err := writeChanged(filepath.Join(bin, "gcc"), script); err != nil {
		return nil, fmt.Errorf("deps: %w", err)
	}
	return []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, nil
}

// writeChanged puts a script in place in one step, so that a process that runs
// at the same time sees the old one or the new one.
func writeChanged(name, text string) error {
	if old, err := os.ReadFile(name); err == nil && string(old) == text {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), 0o755); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// canSanitize reports whether the machine's gcc makes programs with both
// families of sanitizers.
func canSanitize(ctx context.Context) bool {
	for _, flag := range []string{"-fsanitize=address,undefined", "-fsanitize=thread"} {
		cmd := exec.CommandContext(ctx, "gcc", flag, "-x", "c", "-o", os.DevNull, "-")
		cmd.Stdin = strings.NewReader("#include <stdatomic.h>\n#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n")
		if cmd.Run() != nil {
			return false
		}
	}
	return true
}

// perlModules are those that the kernel's scripts use and a minimal perl lacks.
var perlModules = []string{"-MTerm::ANSIColor", "-MEncode", "-MPod::Usage", "-e1"}

// providePerl adds the modules that a minimal perl lacks.
func providePerl(ctx context.Context, w io.Writer) ([]string, error) {
	if exec.CommandContext(ctx, "perl", perlModules...).Run() == nil {
		return nil, nil
	}
	dir, err := Ensure(ctx, w, Perl)
	if err != nil {
		return nil, err
	}
	lib := "PERL5LIB=" + filepath.Join(dir, "usr/share/perl/5.36") + ":" + filepath.Join(dir, "usr/lib/x86_64-linux-gnu/perl/5.36")
	cmd := exec.CommandContext(ctx, "perl", perlModules...)
	cmd.Env = append(os.Environ(), lib)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, &UnavailableError{What: "perl", Why: "this machine's perl is not that of Debian 12 and lacks modules; install the package perl",
			Err: fmt.Errorf("%w: %s", err, out)}
	}
	return []string{lib}, nil
}
