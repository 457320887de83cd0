// SPDX-License-Identifier: MIT

package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"kshm/internal/deps"
)

// A Kernel is something that can be booted.
type Kernel struct {
	Name    string // as users say it: "6.1"
	Image   string // file on the host
	Release string // what uname -r says, e.g. "6.1.0-56-cloud-amd64"; "" if unknown
	Modules string // folder with the kernel's own modules; "" if it has none
	Arch    string // as GOARCH has it
	UML     bool   // the image is a program of the host: user-mode Linux
	Debug   bool   // made to find bugs: slow, and wants memory
}

// KernelNames lists the kernels that package deps can fetch, the default first.
func KernelNames() []string {
	var names []string
	for _, c := range deps.Components() {
		if name, ok := strings.CutPrefix(c.Name, "kernel-"); ok {
			names = append(names, name)
		}
	}
	return names
}

// IsPath reports whether a kernel is given by path rather than by name.
func IsPath(kernel string) bool { return strings.ContainsRune(kernel, os.PathSeparator) }

// FindKernel returns a stock kernel by name, fetching it if necessary, or one
// of the user's own by path; modules is the folder of the latter's modules or "".
func FindKernel(ctx context.Context, w io.Writer, kernel, modules string) (Kernel, error) {
	if IsPath(kernel) {
		return OpenKernel(kernel, modules)
	}
	return Fetch(ctx, w, kernel)
}

// Fetch returns the stock Debian kernel of that name, fetching it if necessary,
// or the one that is built from source, building it if necessary.
func Fetch(ctx context.Context, w io.Writer, name string) (Kernel, error) {
	if b, ok := deps.LookupKernel(name); ok {
		return fetchBuilt(ctx, w, b)
	}
	c, ok := deps.Lookup("kernel-" + name)
	if !ok {
		return Kernel{}, fmt.Errorf("vm: no kernel is called %q; there are %s", name, strings.Join(KernelNames(), ", "))
	}
	dir, err := deps.Ensure(ctx, w, c)
	if err != nil {
		return Kernel{}, err
	}
	return kernelIn(dir, name, cmp.Or(c.Arch, "amd64"))
}

// kernelIn finds the kernel in an unpacked image package: in boot, or beside
// its modules in newer ones.
func kernelIn(dir, name, arch string) (Kernel, error) {
	boot, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	beside, err2 := filepath.Glob(filepath.Join(dir, "usr/lib/modules/*/vmlinuz"))
	images := append(boot, beside...)
	if err := errors.Join(err, err2); err != nil || len(images) != 1 {
		return Kernel{}, fmt.Errorf("vm: want one kernel image in %s, found %d", dir, len(images))
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	if len(beside) == 1 {
		release = filepath.Base(filepath.Dir(images[0]))
	}
	return Kernel{
		Name: name, Image: images[0], Release: release, Arch: arch,
		Modules: filepath.Join(dir, "lib", "modules", release),
	}, nil
}
