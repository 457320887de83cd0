// SPDX-License-Identifier: MIT

package vm

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKernelInUnpackedPackages(t *testing.T) {
	for name, c := range map[string]struct {
		images  []string
		release string // "" for an error
	}{
		"in boot":            {[]string{"boot/vmlinuz-6.1.0-1-amd64"}, "6.1.0-1-amd64"},
		"beside its modules": {[]string{"usr/lib/modules/7.2.13-amd64/vmlinuz"}, "7.2.13-amd64"},
		"two":                {[]string{"boot/vmlinuz-6.1.0-1-amd64", "usr/lib/modules/7.2.13-amd64/vmlinuz"}, ""},
		"none":               {nil, ""},
	} {
		dir := t.TempDir()
		for _, image := range c.images {
			path := filepath.Join(dir, image)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		k, err := kernelIn(dir, "x", "arm64")
		if k.Release != c.release || (err == nil) != (c.release != "") {
			t.Errorf("%s: release %q, %v; want %q", name, k.Release, err, c.release)
		}
		if err == nil && (k.Arch != "arm64" || k.Image != filepath.Join(dir, c.images[0]) || k.Modules != filepath.Join(dir, "lib/modules", c.release)) {
			t.Errorf("%s: %+v", name, k)
		}
	}
}
