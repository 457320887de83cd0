// SPDX-License-Identifier: MIT

package deps

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

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
