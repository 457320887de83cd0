// SPDX-License-Identifier: MIT

// Package deps fetches the tools that the project's tests need and unpacks
// them under one private folder: nothing is installed, no right is needed and
// nothing else on the machine changes.
//
// The tools are Debian packages. They come through the machine's own apt, with
// its mirrors, proxies and signing keys, but with a private state, so neither
// the system's package lists nor its locks are touched. packages.lock pins
// every file by version and SHA-256. An archive drops superseded versions: when
// a pinned one is gone, the archive's current candidate is taken instead and
// one line says so.
package deps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Ready returns the folder of c if it is unpacked and up to date with the lock
// file, and "" if Ensure has to fetch it. It never uses the network.
func Ready(c Component) string {
	root, err := Root()
	if err != nil {
		return ""
	}
	dir := filepath.Join(root, c.Name)
	if s, err := readStamp(dir); err != nil || s.Pin != pinned(c.Name).digest() {
		return ""
	}
	return dir
}

// Ensure makes sure that c is unpacked and returns its folder, which looks like
// the root of a file system that holds c's packages alone. What is fetched, and
// how large it is, goes to w as one line; nothing is written when all is there.
// Several processes may call it at once: one works, the others wait.
//
// The error satisfies errors.Is(err, ErrUnavailable) when the environment lacks
// something, such as a network or apt.
func Ensure(ctx context.Context, w io.Writer, c Component) (string, error) {
	if dir := Ready(c); dir != "" {
		return dir, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("deps: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(root, "."+c.Name+".flock"))
	if err != nil {
		return "", fmt.Errorf("deps: wait for another process to fetch %s: %w", c.Name, err)
	}
	defer unlock()
	if dir := Ready(c); dir != "" { // another process was faster
		return dir, nil
	}
	if err := fetch(ctx, w, root, c); err != nil {
		return "", fmt.Errorf("deps: fetch %s: %w", c.Name, err)
	}
	return filepath.Join(root, c.Name), nil
}

// fetch downloads c and puts it in place. The caller holds c's file lock.
func fetch(ctx context.Context, w io.Writer, root string, c Component) error {
	a, err := openArchive(ctx, w, root, c)
	if err != nil {
		return err
	}
	defer a.close()
	pin := pinned(c.Name)
	pkgs, err := a.choose(ctx, w, c, pin)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "deps: fetching %s: %s, %.1f MB\n", c.Name, plural(len(pkgs), "package"), float64(pkgs.size())/1e6)
	debs, err := os.MkdirTemp(root, "."+c.Name+".debs-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	if err := a.download(ctx, debs, pkgs); err != nil {
		return err
	}
	return install(ctx, debs, filepath.Join(root, c.Name), stamp{Pin: pin.digest(), Packages: pkgs}, c.prepare)
}

// Root returns the folder that holds everything fetched: $KSHM_DEPS if set,
// otherwise build/deps of the kshm repository around the working directory,
// otherwise kshm in the user's cache folder.
func Root() (string, error) {
	if dir := os.Getenv("KSHM_DEPS"); dir != "" {
		return filepath.Abs(dir)
	}
	if repo := Repo(); repo != "" {
		return filepath.Join(repo, "build", "deps"), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", &UnavailableError{What: "a folder to unpack tools in", Why: "neither $KSHM_DEPS nor $HOME is set", Err: err}
	}
	return filepath.Join(cache, "kshm"), nil
}

// Repo returns the root of the kshm repository around the working directory, or
// "" outside of it.
func Repo() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			first, _, _ := strings.Cut(string(mod), "\n")
			if strings.TrimSpace(first) == "module kshm" {
				return dir
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// A stamp in an unpacked folder says what it was made from.
type stamp struct {
	Pin      string   // digest of the lock file's entry
	Packages packages // what is really in the folder
}

func readStamp(dir string) (stamp, error) {
	var s stamp
	b, err := os.ReadFile(filepath.Join(dir, stampName))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

const stampName = ".stamp.json"

// ErrUnavailable is matched by every error that says that the environment lacks
// something, as opposed to something having gone wrong.
var ErrUnavailable = errors.New("not available on this machine")

// UnavailableError names what the environment lacks, in one sentence.
type UnavailableError struct {
	What string // the thing that cannot be had
	Why  string // why, and what to do about it
	Err  error  // the cause, or nil
}

func (e *UnavailableError) Error() string { return "cannot get " + e.What + ": " + e.Why }

func (e *UnavailableError) Unwrap() error { return e.Err }

// Is reports whether target is ErrUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
