// SPDX-License-Identifier: MIT

package deps

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A source is one archive that the machine's apt is set up to use.
type source struct {
	URI      string
	Suites   []string
	SignedBy string // a key file, or a key block in deb822 form; "" for apt's default keys
}

// machineSources reads the archives from an apt configuration folder such as
// /etc/apt.
func machineSources(etc string) ([]source, error) {
	var all []source
	lists, _ := filepath.Glob(filepath.Join(etc, "sources.list.d", "*.list"))
	for _, name := range append([]string{filepath.Join(etc, "sources.list")}, lists...) {
		if b, err := os.ReadFile(name); err == nil {
			all = append(all, parseOneLine(string(b))...)
		}
	}
	stanzas, _ := filepath.Glob(filepath.Join(etc, "sources.list.d", "*.sources"))
	for _, name := range stanzas {
		if b, err := os.ReadFile(name); err == nil {
			all = append(all, parseDeb822(string(b))...)
		}
	}
	if len(all) == 0 {
		return nil, &UnavailableError{What: "packages", Why: "apt has no source configured under " + etc}
	}
	return all, nil
}

// parseOneLine reads "deb [options] uri suite component..." lines.
func parseOneLine(text string) []source {
	var all []source
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		var s source
		if rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "[") {
			options, after, _ := strings.Cut(rest[1:], "]")
			for _, o := range strings.Fields(options) {
				if key, ok := strings.CutPrefix(o, "signed-by="); ok {
					s.SignedBy = key
				}
			}
			rest = after
		}
		if f := strings.Fields(rest); len(f) >= 3 {
			s.URI, s.Suites = f[0], f[1:2]
			all = append(all, s)
		}
	}
	return all
}

// parseDeb822 reads stanzas of "Field: value" lines with continuation lines.
func parseDeb822(text string) []source {
	var all []source
	for _, stanza := range strings.Split(text, "\n\n") {
		field := deb822Fields(stanza)
		if !strings.Contains(" "+field["types"]+" ", " deb ") || strings.EqualFold(field["enabled"], "no") {
			continue
		}
		for _, uri := range strings.Fields(field["uris"]) {
			all = append(all, source{URI: uri, Suites: strings.Fields(field["suites"]), SignedBy: field["signed-by"]})
		}
	}
	return all
}

func deb822Fields(stanza string) map[string]string {
	field := make(map[string]string)
	last := ""
	for _, line := range strings.Split(stanza, "\n") {
		switch {
		case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
		case line[0] == ' ' || line[0] == '\t':
			field[last] += "\n" + line
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(name))
			field[last] = strings.TrimSpace(value)
		}
	}
	return field
}

// sourcesFor writes a deb822 source list for a suite and what belongs to it,
// from the mirrors and keys that the machine uses for its own suite.
func sourcesFor(all []source, machineSuite, suite string) (string, error) {
	base, _, _ := strings.Cut(suite, "-")
	var b strings.Builder
	for _, s := range all {
		for _, have := range s.Suites {
			switch have {
			case machineSuite:
				writeSource(&b, s, base)
				if base == "bookworm" {
					writeSource(&b, s, base+"-backports")
				}
			case machineSuite + "-security":
				if base != "sid" {
					writeSource(&b, s, base+"-security")
				}
			}
		}
	}
	if b.Len() == 0 {
		return "", &UnavailableError{What: "Debian packages", Why: fmt.Sprintf("apt has no source for the suite %q of this machine", machineSuite)}
	}
	return b.String(), nil
}

func writeSource(b *strings.Builder, s source, suite string) {
	fmt.Fprintf(b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n", s.URI, suite)
	if s.SignedBy != "" {
		fmt.Fprintf(b, "Signed-By: %s\n", s.SignedBy)
	}
	b.WriteByte('\n')
}

// machineSuite returns this machine's Debian suite.
func machineSuite() (string, error) {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", &UnavailableError{What: "Debian packages", Why: "this is not a Debian system", Err: err}
	}
	id, suite := "", ""
	for _, line := range strings.Split(string(b), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			id = value
		case "VERSION_CODENAME":
			suite = value
		}
	}
	if id != "debian" || suite == "" {
		return "", &UnavailableError{What: "Debian packages", Why: "this is not a Debian system; run on Debian 12 or newer, or set KSHM_DEPS to a folder filled on one"}
	}
	return suite, nil
}
