// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// UpdateLock pins the archive's current versions of the named components, of
// all components if none is named, in the repository's packages.lock.
func UpdateLock(ctx context.Context, w io.Writer, names ...string) error {
	repo := Repo()
	if repo == "" {
		return fmt.Errorf("deps: the lock file can be updated only inside the kshm repository")
	}
	root, err := Root()
	if err != nil {
		return err
	}
	lock, err := parseLock(lockText)
	if err != nil {
		return err
	}
	cs, err := byName(names)
	if err != nil {
		return err
	}
	for _, c := range cs {
		pkgs, err := current(ctx, w, root, c)
		if err != nil {
			return fmt.Errorf("deps: pin %s: %w", c.Name, err)
		}
		fmt.Fprintf(w, "deps: pinned %s: %s, %.1f MB\n", c.Name, plural(len(pkgs), "package"), float64(pkgs.size())/1e6)
		lock[c.Name] = pkgs
	}
	return os.WriteFile(filepath.Join(repo, "internal", "deps", "packages.lock"), []byte(formatLock(lock)), 0o644)
}

func current(ctx context.Context, w io.Writer, root string, c Component) (packages, error) {
	a, err := openArchive(ctx, w, root, c)
	if err != nil {
		return nil, err
	}
	defer a.close()
	if err := a.update(ctx, w); err != nil {
		return nil, err
	}
	return a.resolve(ctx, c)
}

func byName(names []string) ([]Component, error) {
	if len(names) == 0 {
		return Components(), nil
	}
	var cs []Component
	for _, name := range names {
		c, ok := Lookup(name)
		if !ok {
			return nil, fmt.Errorf("deps: no component is called %q", name)
		}
		cs = append(cs, c)
	}
	return cs, nil
}
