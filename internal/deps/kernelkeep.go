// SPDX-License-Identifier: MIT

package deps

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keep copies to dir what booting the kernel and building modules for it take,
// a few per cent of what was built. Source and objects come together in one
// tree, which may then lie anywhere.
func (m *kernelMake) keep(dir string) error {
	k := m.kernel
	if err := copyFile(filepath.Join(m.objects, k.image), k.Image(dir)); err != nil {
		return err
	}
	trees := slices.Compact([]string{"arch/x86", "arch/" + k.Arch, "include", "scripts"}) // um's machine is x86
	for _, from := range []string{m.source, m.objects} {
		for _, tree := range trees {
			if err := keepTree(from, tree, k.Headers(dir)); err != nil {
				return err
			}
		}
	}
	files := []string{".config", "Module.symvers"}
	if objtool := "tools/objtool/objtool"; exists(filepath.Join(m.objects, objtool)) {
		files = append(files, objtool)
	}
	for _, name := range files {
		if err := copyFile(filepath.Join(m.objects, name), filepath.Join(k.Headers(dir), name)); err != nil {
			return err
		}
	}
	return copyFile(filepath.Join(m.source, "Makefile"), filepath.Join(k.Headers(dir), "Makefile"))
}

func keepTree(from, tree, to string) error {
	top := filepath.Join(from, tree)
	if !exists(top) {
		return nil
	}
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err == nil && d.IsDir() && strings.HasPrefix(tree, "arch/") && d.Name() == "uapi" {
			return os.MkdirAll(filepath.Join(to, rel), 0o755) // may be empty, and is looked into all the same
		}
		if err != nil || d.IsDir() || !kept(rel) {
			return err
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

// kept reports whether building a module may need this file.
func kept(path string) bool {
	name := filepath.Base(path)
	switch {
	case strings.HasSuffix(name, ".o"), strings.HasSuffix(name, ".a"), strings.HasSuffix(name, ".cmd"):
		return false
	case strings.HasPrefix(path, "scripts/"), strings.HasPrefix(path, "include/"):
		return true
	}
	return strings.HasSuffix(name, ".h") || strings.HasPrefix(name, "Makefile") || strings.HasPrefix(name, "Kbuild") || name == "Platform" ||
		strings.Contains(path, "/scripts/")
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// copyFile copies a regular file with its rights, or a symbolic link.
func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode().Perm())
}
