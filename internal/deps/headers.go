// SPDX-License-Identifier: MIT

package deps

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// relocateHeaders makes the kernel headers in dir usable from wherever dir is:
// their Makefiles include each other by absolute path.
func relocateHeaders(dir string) error {
	makefiles, err := filepath.Glob(filepath.Join(dir, "usr/src/linux-headers-*/Makefile"))
	if err != nil {
		return err
	}
	if len(makefiles) == 0 {
		return fmt.Errorf("no kernel headers in the packages")
	}
	for _, name := range makefiles {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b = bytes.ReplaceAll(b, []byte("include /usr/src/"), []byte("include $(dir $(lastword $(MAKEFILE_LIST)))../"))
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
