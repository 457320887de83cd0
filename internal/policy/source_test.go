// SPDX-License-Identifier: MIT

package policy

import (
	"bytes"
	"go/format"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestGofmt(t *testing.T) {
	for _, f := range goFiles(t) {
		want, err := format.Source([]byte(f.text))
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
		} else if !bytes.Equal(want, []byte(f.text)) {
			t.Errorf("%s: run gofmt -w", f.name)
		}
	}
}

// longFiles may have more lines than others.
var longFiles = map[string]string{
	"driver/include/kshm_ring.h": "a driver takes the rings as one header",
}

func TestLengthOfFiles(t *testing.T) {
	const limit = 600 // one idea fits into 500
	for _, f := range allFiles(t) {
		n := strings.Count(f.text, "\n")
		_, long := longFiles[f.name]
		if f.hasSuffix(".go", ".c", ".h") && n > limit && !long {
			t.Errorf("%s has %d lines: more than one idea in it; split it", f.name, n)
		}
	}
}

func TestPackageNames(t *testing.T) {
	vague := []string{"util", "utils", "common", "misc", "helpers", "base", "shared", "lib"}
	for _, f := range goFiles(t) {
		if slices.Contains(vague, f.ast.Name.Name) {
			t.Errorf("%s: a package's name says what it provides, %q does not", f.name, f.ast.Name.Name)
		}
	}
}

// documented are the hosts that text may point to: documentation and standards.
var documented = []string{
	"docs.kernel.org", "www.kernel.org", "lwn.net", "learn.microsoft.com", "go.dev", "pkg.go.dev",
	"keepachangelog.com", "semver.org", "spdx.org", "reuse.software", "www.w3.org", "wiki.debian.org",
	"en.wikipedia.org", "spinroot.com",
}

var (
	links    = regexp.MustCompile("[a-z][a-z0-9+.-]*://[^\\s\"'`<>)\\]}]*")
	machines = regexp.MustCompile(`(^|[\s"'=(])(/home/[a-z]|/root/|/Users/[A-Za-z]|[A-Z]:\\Users\\|/work/)`)
)

// A link is fine if it points to documentation, or to a name that can never be
// a host. What is fetched comes from where the machine's own settings say.
func fineLink(link string) bool {
	u, err := url.Parse(strings.TrimRight(link, ".,;:"))
	if err != nil {
		return false
	}
	host := u.Hostname()
	return slices.Contains(documented, host) ||
		strings.HasSuffix(host, ".test") || strings.HasSuffix(host, ".invalid") || strings.HasSuffix(host, ".example") ||
		host == "localhost" || host == "127.0.0.1" || !strings.Contains(host, ".")
}

func TestNoHostsAndNoMachinesPaths(t *testing.T) {
	for _, f := range allFiles(t) {
		if f.hasSuffix("go.sum", ".tool.sum", ".png") || f.under(licences) {
			continue
		}
		for i, text := range strings.Split(f.text, "\n") {
			for _, link := range links.FindAllString(text, -1) {
				if !fineLink(link) {
					t.Errorf("%s:%d: %s: files name no hosts but those of documentation", f.name, i+1, link)
				}
			}
			if m := machines.FindString(text); m != "" && f.dir() != "internal/policy" {
				t.Errorf("%s:%d: %q is a path of one machine", f.name, i+1, strings.TrimSpace(m))
			}
		}
	}
}

func TestTextEndsWell(t *testing.T) {
	for _, f := range allFiles(t) {
		if f.hasSuffix(".png", ".gz") || f.under(licences) || strings.Contains(f.name, "testdata/") {
			continue
		}
		if f.text != "" && !strings.HasSuffix(f.text, "\n") {
			t.Errorf("%s: the last line has no end", f.name)
		}
		for i, text := range strings.Split(f.text, "\n") {
			if strings.TrimRight(text, " \t") != text {
				t.Errorf("%s:%d: space at the end of the line", f.name, i+1)
			}
		}
		if strings.Contains(f.text, "\r") && path.Ext(f.name) != ".inf" {
			t.Errorf("%s: lines end in CR LF", f.name)
		}
	}
}
