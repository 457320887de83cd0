// SPDX-License-Identifier: MIT

package deps

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// configure writes the kernel's configuration and checks that it is what the
// fragments ask for: kconfig drops, without a word, what it does not know and
// what something else forbids.
func (m *kernelMake) configure(ctx context.Context) error {
	text, err := m.kernel.fragment()
	if err != nil {
		return err
	}
	name := filepath.Join(m.objects, ".config")
	before, _ := os.ReadFile(name)
	if len(before) == 0 || len(lostOptions(text, string(before))) > 0 {
		if err := m.make(ctx, m.kernel.Base); err != nil {
			return err
		}
		base, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(mergeConfig(string(base), text)), 0o644); err != nil {
			return err
		}
	}
	if err := m.make(ctx, "olddefconfig"); err != nil {
		return err
	}
	after, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if lost := lostOptions(text, string(after)); len(lost) > 0 {
		return fmt.Errorf("options that did not survive, for want of others or because they are gone: %s", strings.Join(lost, ", "))
	}
	return nil
}

// configLine reads one line of a configuration; "n" and "is not set" are the
// same. ok is false for a line that sets nothing.
func configLine(line string) (name, value string, ok bool) {
	line = strings.TrimSpace(line)
	if rest, found := strings.CutPrefix(line, "# CONFIG_"); found {
		name, ok = strings.CutSuffix(rest, " is not set")
		return name, "n", ok
	}
	rest, found := strings.CutPrefix(line, "CONFIG_")
	name, value, ok = strings.Cut(rest, "=")
	return name, value, found && ok
}

func parseConfig(text string) map[string]string {
	options := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := configLine(line); ok {
			options[name] = value
		}
	}
	return options
}

// mergeConfig returns base with the options of fragment in place of its own.
func mergeConfig(base, fragment string) string {
	mine := parseConfig(fragment)
	var b strings.Builder
	for line := range strings.Lines(base) {
		name, _, ok := configLine(line)
		if _, replaced := mine[name]; !ok || !replaced {
			b.WriteString(line)
		}
	}
	for line := range strings.Lines(fragment) {
		name, value, ok := configLine(line)
		if ok && mine[name] == value { // of several lines, the last
			fmt.Fprintf(&b, "CONFIG_%s=%s\n", name, value)
			delete(mine, name)
		}
	}
	return b.String()
}

// lostOptions names the options of fragment that config does not have.
func lostOptions(fragment, config string) (lost []string) {
	have, want := parseConfig(config), parseConfig(fragment)
	for line := range strings.Lines(fragment) {
		name, _, ok := configLine(line)
		if !ok {
			continue
		}
		value, asked := want[name]
		delete(want, name)
		if got := have[name]; asked && got != value && (value != "n" || got != "") {
			lost = append(lost, name+"="+value)
		}
	}
	return lost
}
