// SPDX-License-Identifier: MIT

package deps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// prepareWine does what the packages' own scripts would do on installation.
func prepareWine(dir string) error {
	if err := mergeUsr(dir); err != nil {
		return err
	}
	for machine, arch := range map[string]string{"x86_64": "x86_64-windows", "i686": "i386-windows"} {
		from := filepath.Join(dir, "usr", machine+"-w64-mingw32", "lib", "zlib1.dll")
		to := filepath.Join(dir, "usr/lib/x86_64-linux-gnu/wine", arch, "zlib1.dll")
		if err := copyAsBuiltin(from, to); err != nil {
			return err
		}
	}
	return nil
}

// copyAsBuiltin copies a library with the mark, in its DOS header's stub, by
// which Wine knows its own.
func copyAsBuiltin(from, to string) error {
	const at, end = 64, 96
	image, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if len(image) < end {
		return fmt.Errorf("%s is too short for a library", from)
	}
	clear(image[at:end])
	copy(image[at:end], "Wine builtin DLL")
	return os.WriteFile(to, image, 0o644)
}

// mergeUsr makes the folders that a system to be entered has and that no
// package brings: the names at the top, which belong below usr, and the places
// that the machine's own folders will be mounted on.
func mergeUsr(dir string) error {
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, "usr", name), 0o755); err != nil {
			return err
		}
		err := os.Symlink("usr/"+name, filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, name := range []string{"dev", "proc", "tmp", "host"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}
