// SPDX-License-Identifier: MIT

package vm

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"

	"kshm/internal/vm/wire"
)

// ParseModule reads the way modules are written on a command line:
// "file.ko,name=value,name=value".
func ParseModule(s string) Module {
	path, params, _ := strings.Cut(s, ",")
	return Module{Path: path, Params: strings.ReplaceAll(params, ",", " ")}
}

// A module is a module file with what it says about itself.
type module struct {
	Module
	image   []byte
	name    string   // as the kernel knows it, with underscores
	depends []string // names of modules to load first
	own     bool     // of the kernel, not of the user
}

func (m module) wire() wire.Module {
	return wire.Module{Path: m.guest(), Name: m.name, Params: m.Params, Keep: m.own}
}

func (m module) guest() string { return "/kshm/modules/" + m.name + ".ko" }

// modules returns everything to load, in order: each module after those of the
// kernel's own that it depends on.
func (o *Options) modules() ([]module, error) {
	index, err := indexModules(o.Kernel.Modules)
	if err != nil {
		return nil, err
	}
	l := loader{release: o.Kernel.Release, index: index, seen: make(map[string]bool)}
	var users []module
	for _, m := range o.Modules {
		user, err := openModule(m, l.release)
		if err != nil {
			return nil, err
		}
		l.seen[user.name] = true
		users = append(users, user)
	}
	kernels := o.KernelModules
	if len(o.Disks) > 0 {
		kernels = append([]string{"virtio_pci", "virtio_blk"}, kernels...)
	}
	for _, name := range kernels {
		if err := l.own(name); err != nil {
			return nil, err
		}
	}
	for _, user := range users {
		for _, name := range user.depends {
			if err := l.own(name); err != nil {
				return nil, err
			}
		}
		l.order = append(l.order, user)
	}
	return l.order, nil
}

// A loader puts modules in an order in which the kernel takes them.
type loader struct {
	release string
	index   map[string]string
	seen    map[string]bool
	order   []module
}

// own adds a module of the kernel's own, after what it depends on.
func (l *loader) own(name string) error {
	name = moduleName(name)
	path, ok := l.index[name]
	if l.seen[name] || ok && path == builtIn {
		return nil
	}
	if !ok {
		return fail(ErrLoad, "kernel %s has no module %s", l.release, name)
	}
	l.seen[name] = true
	m, err := openModule(Module{Path: path}, l.release)
	if err != nil {
		return err
	}
	for _, d := range m.depends {
		if err := l.own(d); err != nil {
			return err
		}
	}
	m.own = true
	l.order = append(l.order, m)
	return nil
}

const builtIn = "" // the path of a module that is part of the kernel image

// indexModules maps the names of a kernel's own modules to their files.
func indexModules(dir string) (map[string]string, error) {
	index := make(map[string]string)
	if dir == "" {
		return index, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("vm: %w", err)
	}
	for _, path := range strings.Fields(string(b)) {
		index[moduleName(path)] = builtIn
	}
	return index, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".ko") || strings.HasSuffix(path, ".ko.xz")) {
			index[moduleName(path)] = path
		}
		return err
	})
}

// moduleName returns the name by which the kernel knows a module or its file.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// readModule returns a module's content, unpacked.
func readModule(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".xz") {
		return b, err
	}
	r, err := xz.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// openModule reads what a module says about itself. release may be empty if the
// kernel's is not known.
func openModule(m Module, release string) (module, error) {
	image, err := readModule(m.Path)
	if err != nil {
		return module{}, fmt.Errorf("vm: module: %w", err)
	}
	info, err := modinfo(image)
	if err != nil {
		return module{}, fmt.Errorf("vm: module %s: %w", m.Path, err)
	}
	mod := module{Module: m, image: image, name: moduleName(m.Path)}
	if name := info["name"]; name != "" {
		mod.name = name
	}
	if d := info["depends"]; d != "" {
		mod.depends = strings.Split(d, ",")
	}
	built, _, _ := strings.Cut(info["vermagic"], " ")
	if release != "" && built != release {
		return module{}, fail(ErrMismatch, "%s is for %s and this kernel is %s; build it against the headers of the kernel it is to run on", m.Path, built, release)
	}
	return mod, nil
}

// modinfo returns the "name=value" strings of a module.
func modinfo(image []byte) (map[string]string, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("not a kernel module: it has no .modinfo section")
	}
	b, err := s.Data()
	if err != nil {
		return nil, err
	}
	info := make(map[string]string)
	for _, kv := range strings.Split(string(b), "\x00") {
		name, value, _ := strings.Cut(kv, "=")
		info[name] = value
	}
	return info, nil
}
