// SPDX-License-Identifier: MIT

package policy

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"kshm/internal/abi"
)

const windowsDocument = "docs/windows.md"

// folderText joins the files of a folder whose names end so.
func folderText(t *testing.T, folder, end string) string {
	t.Helper()
	var all strings.Builder
	for _, f := range allFiles(t) {
		if strings.HasPrefix(f.name, folder) && strings.HasSuffix(f.name, end) {
			all.WriteString(f.text)
		}
	}
	return all.String()
}

// TestWindowsNamesWhatThereIs holds docs/windows.md, which stands in for tests on
// real Windows, to the tests, the tests of the shim and the seeded bugs there are.
func TestWindowsNamesWhatThereIs(t *testing.T) {
	text := fileText(t, windowsDocument)
	goTests := folderText(t, "", "_test.go")
	shim := folderText(t, "driver/test/nt/shim/", ".c")
	seeds := fileText(t, "driver/test/nt/seeds.txt")
	for _, c := range []struct {
		name   string
		find   *regexp.Regexp
		least  int
		exists func(name string) bool
	}{
		{"test", regexp.MustCompile(`\b(Test[A-Z]\w*\*?)`), 30, func(name string) bool {
			if begin, ok := strings.CutSuffix(name, "*"); ok {
				return strings.Contains(goTests, "\nfunc "+begin)
			}
			return strings.Contains(goTests, "\nfunc "+name+"(t *testing.T)")
		}},
		{"test of the shim", regexp.MustCompile(`\b(test_[a-z_]+)\b[^.]`), 8, func(name string) bool {
			return name == "test_section" || regexp.MustCompile(`(?m)^(static )?void `+name+`\(`).MatchString(shim)
		}},
		{"seeded bug", regexp.MustCompile(`"([a-z ]+|leaked MDL)"`), 10, func(name string) bool {
			return regexp.MustCompile(`(?m)^seed (.*\|)?` + regexp.QuoteMeta(name) + `(\||$)`).MatchString(seeds)
		}},
	} {
		found := c.find.FindAllStringSubmatch(text, -1)
		if len(found) < c.least {
			t.Errorf("only %d names of a %s: does this test still see them?", len(found), c.name)
		}
		for _, m := range found {
			if !c.exists(m[1]) {
				t.Errorf("%s: there is no %s %s", windowsDocument, c.name, m[1])
			}
		}
	}
}

// TestWindowsHasARowForEveryClause wants all columns of all clauses filled in,
// and the numbers of all codes.
func TestWindowsHasARowForEveryClause(t *testing.T) {
	text := fileText(t, windowsDocument)
	for clause := 1; clause <= 11; clause++ {
		rows := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d [a-z].*$`, clause)).FindAllString(text, -1)
		if len(rows) != 1 {
			t.Errorf("clause %d has %d rows", clause, len(rows))
			continue
		}
		cells := strings.Split(strings.Trim(rows[0], "| "), "|")
		if len(cells) != 5 {
			t.Errorf("clause %d has %d columns, not 5", clause, len(cells))
		}
		for _, cell := range cells {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("clause %d: an empty column", clause)
			}
		}
	}
	for name, number := range map[string]int{"SHARE": abi.CtlShare, "SHARE_READ": abi.CtlShareRead, "DONE": abi.CtlDone, "INFO": abi.CtlInfo,
		"KICK": abi.CtlKick, "STATS": abi.CtlStats, "WAIT": abi.CtlWait, "STOP": abi.CtlStop} {
		if !strings.Contains(text, fmt.Sprintf("\n| %s | 0x%08x", name, number)) {
			t.Errorf("no row of %s, %#08x", name, number)
		}
	}
}
