// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A BuiltKernel is a kernel that no distribution builds, from its source.
type BuiltKernel struct {
	Name   string    // its folder under Root
	Source Component // with usr/src/linux-source-*.tar.xz
	Arch   string    // as the kernel's make calls it
	Base   string    // the make target that the configuration starts from
	Config []string  // fragments in the folder config, a later one wins
	Debug  bool      // made to find bugs
	image  string    // what boots, in the build folder
	more   []change  // to the source, beside those that all have
}

// BuiltKernels lists them.
func BuiltKernels() []BuiltKernel {
	const bzImage = "arch/x86/boot/bzImage"
	return []BuiltKernel{
		{Name: "debug-6.12", Source: Source612, Arch: "x86", Base: "tinyconfig", Config: []string{"guest.config", "debug.config"}, Debug: true, image: bzImage},
		{Name: "kcsan-6.12", Source: Source612, Arch: "x86", Base: "tinyconfig", Config: []string{"guest.config", "kcsan.config"}, Debug: true, image: bzImage},
		{Name: "uml-7.2", Source: Source72, Arch: "um", Base: "tinyconfig", Config: []string{"uml.config"}, image: "linux"},
		{Name: "debug-uml-7.2", Source: Source72, Arch: "um", Base: "tinyconfig", Config: []string{"uml.config", "debug-uml.config"}, Debug: true, image: "linux", more: umlDebugging},
	}
}

// LookupKernel returns the built kernel of that name.
func LookupKernel(name string) (BuiltKernel, bool) {
	for _, k := range BuiltKernels() {
		if k.Name == name {
			return k, true
		}
	}
	return BuiltKernel{}, false
}

// Image is the file to boot in a folder that EnsureKernel returned.
func (k BuiltKernel) Image(dir string) string { return filepath.Join(dir, "image") }

// Headers is the folder there to build modules against.
func (k BuiltKernel) Headers(dir string) string { return filepath.Join(dir, "build") }

// Make is what every make has to be told that builds k, or modules for it.
func (k BuiltKernel) Make() []string { return []string{"ARCH=" + k.Arch} }

// Release is what uname -r says.
func (k BuiltKernel) Release(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(k.Headers(dir), "include/config/kernel.release"))
	return strings.TrimSpace(string(b)), err
}

//go:embed config/*.config
var fragments embed.FS

// fragment returns the configuration of k, as one text.
func (k BuiltKernel) fragment() (string, error) {
	var all strings.Builder
	for _, name := range k.Config {
		b, err := fragments.ReadFile("config/" + name)
		if err != nil {
			return "", err
		}
		all.Write(b)
	}
	return all.String(), nil
}

// digest identifies what k is made from.
func (k BuiltKernel) digest() (string, error) {
	text, err := k.fragment()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, pinned(k.Source.Name).digest(), k.Arch, k.Base, k.image, changes)
	io.WriteString(h, text)
	if k.more != nil {
		fmt.Fprintln(h, k.more)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ReadyKernel returns the folder of k if it has been built from what it is
// made from today, and "" otherwise.
func ReadyKernel(k BuiltKernel) string {
	root, err := Root()
	if err != nil {
		return ""
	}
	dir := filepath.Join(root, k.Name)
	want, err := k.digest()
	if s, e := readStamp(dir); err != nil || e != nil || s.Pin != want {
		return ""
	}
	return dir
}

// EnsureKernel makes sure that k is built, which may take an hour, and returns
// its folder. A build that was cut short goes on where it was. work, if not "",
// is where to build it, and is left as it is. Errors and concurrent calls are as
// with Ensure.
func EnsureKernel(ctx context.Context, w io.Writer, k BuiltKernel, work string) (string, error) {
	if dir := ReadyKernel(k); dir != "" {
		return dir, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("deps: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(root, "."+k.Name+".flock"))
	if err != nil {
		return "", fmt.Errorf("deps: wait for another process to build %s: %w", k.Name, err)
	}
	defer unlock()
	if dir := ReadyKernel(k); dir != "" { // another process was faster
		return dir, nil
	}
	own := work == ""
	if own {
		if work, err = workFolder(root, k); err != nil {
			return "", fmt.Errorf("deps: %w", err)
		}
	}
	if err := buildKernel(ctx, w, root, k, work); err != nil {
		return "", fmt.Errorf("deps: build kernel %s: %w; what there is of it is in %s: remove that to begin anew", k.Name, err, work)
	}
	if own {
		if err := os.RemoveAll(work); err != nil {
			return "", fmt.Errorf("deps: %w", err)
		}
	}
	return filepath.Join(root, k.Name), nil
}

func buildKernel(ctx context.Context, w io.Writer, root string, k BuiltKernel, work string) error {
	m, err := newKernelMake(ctx, w, k, work)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{m.unpack, m.configure, m.compile} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	tmp, err := os.MkdirTemp(root, "."+k.Name+".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := m.keep(tmp); err != nil {
		return err
	}
	if err := stampKernel(tmp, k); err != nil {
		return err
	}
	return replace(tmp, filepath.Join(root, k.Name))
}

// workFolder makes the folder for objects of k, if it is not there from an
// earlier try, and removes those of tries at what k was before. The caller has
// k's lock.
func workFolder(root string, k BuiltKernel) (string, error) {
	digest, err := k.digest()
	if err != nil {
		return "", err
	}
	work := filepath.Join(root, fmt.Sprintf(".%s.work-%.12s", k.Name, digest))
	old, err := filepath.Glob(filepath.Join(root, "."+k.Name+".work-*"))
	for _, dir := range old {
		if dir != work {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return work, errors.Join(err, os.MkdirAll(work, 0o755))
}

func stampKernel(dir string, k BuiltKernel) error {
	pin, err := k.digest()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(stamp{Pin: pin, Packages: pinned(k.Source.Name)}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, stampName), b, 0o644)
}
