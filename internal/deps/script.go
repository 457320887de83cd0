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

// A fetched tool that is not installed has to be told where its parts are: a
// script in the folder bin of Root, which Provide puts on the PATH, tells it.

// provideCC provides gcc. What the fetched one makes holds the sanitizers in
// itself and runs on the machine's C library.
func provideCC(ctx context.Context, w io.Writer) ([]string, error) {
	if canSanitize(ctx) {
		return nil, nil
	}
	sysroot, err := Ensure(ctx, w, CLibrary)
	if err != nil {
		return nil, err
	}
	return nil, script(ctx, w, Toolchain, map[string]string{
		"gcc": "gcc-12 --sysroot='" + sysroot + "' -static-libasan -static-libubsan -static-libtsan"})
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

// provideMingw provides the compiler of Windows drivers and its tools.
func provideMingw(ctx context.Context, w io.Writer) ([]string, error) {
	const prefix = "x86_64-w64-mingw32-"
	if _, err := exec.LookPath(prefix + "gcc"); err == nil {
		return nil, nil
	}
	return nil, script(ctx, w, Mingw, map[string]string{
		prefix + "gcc": prefix + "gcc-win32", prefix + "dlltool": prefix + "dlltool",
		prefix + "objcopy": prefix + "objcopy", prefix + "objdump": prefix + "objdump"})
}

// provideClang provides the compiler of eBPF programs under names of its own:
// the machine's clang is another version and would make other bytes.
func provideClang(ctx context.Context, w io.Writer) ([]string, error) {
	headers, err := Ensure(ctx, w, Clang)
	if err != nil {
		return nil, err
	}
	return nil, script(ctx, w, Clang, map[string]string{
		"kshm-bpf-clang":    "clang-19 -isystem '" + headers + "/usr/include' -isystem '" + headers + "/usr/include/x86_64-linux-gnu'",
		"kshm-bpf-strip":    "llvm-strip-19",
		"kshm-clang-format": "clang-format-19"})
}

// provideOsslsigncode provides the tool that signs Windows images.
func provideOsslsigncode(ctx context.Context, w io.Writer) ([]string, error) {
	if _, err := exec.LookPath("osslsigncode"); err == nil {
		return nil, nil
	}
	return nil, script(ctx, w, Osslsigncode, map[string]string{"osslsigncode": "osslsigncode"})
}

// script fetches c and writes a script for each of the named commands.
func script(ctx context.Context, w io.Writer, c Component, commands map[string]string) error {
	const start = `PATH='%[1]s/usr/bin':"$PATH" LD_LIBRARY_PATH='%[1]s/usr/lib/x86_64-linux-gnu:%[1]s/lib/x86_64-linux-gnu' \
exec '%[1]s/usr/bin/'%[2]s "$@"`
	return scripts(ctx, w, c, start, commands)
}

// ownLibrary is script for a component that has a C library with it. Its
// loader is told of it, and not the commands that the command itself starts.
func ownLibrary(ctx context.Context, w io.Writer, c Component, commands map[string]string) error {
	const start = `lib='%[1]s/usr/lib/x86_64-linux-gnu'
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib:%[1]s/usr/lib" '%[1]s/usr/bin/'%[2]s "$@"`
	return scripts(ctx, w, c, start, commands)
}

// scripts writes scripts that start commands of c. start takes c's folder and
// the command.
func scripts(ctx context.Context, w io.Writer, c Component, start string, commands map[string]string) error {
	dir, err := Ensure(ctx, w, c)
	if err != nil {
		return err
	}
	bin := filepath.Join(filepath.Dir(dir), "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("deps: %w", err)
	}
	for name, command := range commands {
		text := "#!/bin/sh\n# Made by internal/deps: starts a fetched tool where it lies.\n" +
			fmt.Sprintf(start, dir, command) + "\n"
		if err := writeScript(filepath.Join(bin, name), text); err != nil {
			return fmt.Errorf("deps: %w", err)
		}
	}
	return nil
}

// writeScript puts a script in place in one step, so that a process that runs
// at the same time sees the old one or the new one.
func writeScript(name, text string) error {
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
