// SPDX-License-Identifier: MIT

package deps

import (
	"crypto/sha256"
	_ "embed" // for packages.lock
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

//go:embed packages.lock
var lockText string

// A pkg is one Debian package file.
type pkg struct {
	Name    string
	Version string
	Size    int64
	SHA256  string // lower-case hexadecimal
}

type packages []pkg

func (p packages) size() (n int64) {
	for _, q := range p {
		n += q.Size
	}
	return n
}

// specs returns the packages the way apt names one exact version.
func (p packages) specs() []string {
	s := make([]string, len(p))
	for i, q := range p {
		s[i] = q.Name + "=" + q.Version
	}
	return s
}

// digest identifies the set, whatever its order.
func (p packages) digest() string {
	h := sha256.New()
	for _, q := range p.sorted() {
		fmt.Fprintln(h, q.Name, q.Version, q.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (p packages) sorted() packages {
	s := slices.Clone(p)
	slices.SortFunc(s, func(a, b pkg) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// find returns the package of that name.
func (p packages) find(name string) (pkg, bool) {
	for _, q := range p {
		if q.Name == name {
			return q, true
		}
	}
	return pkg{}, false
}

// pinned returns what packages.lock says about a component, or nothing.
func pinned(component string) packages {
	lock, err := parseLock(lockText)
	if err != nil {
		panic(err) // a test parses the embedded file
	}
	return lock[component]
}

// parseLock reads lines of "component package version size sha256".
func parseLock(text string) (map[string]packages, error) {
	lock := make(map[string]packages)
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var component string
		var p pkg
		n, err := fmt.Sscanf(line, "%s %s %s %d %s", &component, &p.Name, &p.Version, &p.Size, &p.SHA256)
		if err != nil || n != 5 || len(p.SHA256) != 2*sha256.Size {
			return nil, fmt.Errorf("packages.lock:%d: want component, package, version, size, sha256: %q", i+1, line)
		}
		lock[component] = append(lock[component], p)
	}
	return lock, nil
}

func formatLock(lock map[string]packages) string {
	var b strings.Builder
	b.WriteString("# Made by `go run ./internal/cmd/deps lock`: component package version size sha256\n")
	for _, c := range Components() {
		for _, p := range lock[c.Name].sorted() {
			fmt.Fprintln(&b, c.Name, p.Name, p.Version, p.Size, p.SHA256)
		}
	}
	return b.String()
}
