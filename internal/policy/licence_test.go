// SPDX-License-Identifier: MIT

package policy

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// Licences, as LICENSE explains them.
const (
	mit      = "MIT"
	dual     = "GPL-2.0 OR MIT"
	userAPI  = "(GPL-2.0 WITH Linux-syscall-note) OR MIT"
	licences = "LICENSES"
)

// licenceOf returns the licence that a file has to have.
func licenceOf(f file) string {
	switch {
	case f.under("driver/include"):
		return userAPI
	case f.under("driver/linux", "driver/test/linux"):
		return linuxLicence(f)
	case f.under("internal/vm/testdata") && f.hasSuffix(".c"):
		return dual
	case f.under("driver/samples") && (f.hasSuffix("_linux.c") || path.Base(f.name) == "Kbuild"):
		return dual
	}
	return mit
}

// linuxLicence is that of kernel modules, whose Go tests are Go as any.
func linuxLicence(f file) string {
	if f.hasSuffix(".go") {
		return mit
	}
	return dual
}

// sharedByTwins may carry either: a driver for Linux includes them, and a
// program may copy them.
func sharedByTwins(f file) bool {
	return f.under("driver/samples") && f.hasSuffix(".h") || f.under("driver/test/linux") && f.hasSuffix(".h")
}

// sources have a licence line. Others, such as lists and documents, do not.
var sources = []string{".go", ".c", ".h", ".S", ".sh", ".py", ".pml", ".inf", ".def", ".svg", "Kbuild", "Makefile", ".ci/run"}

var spdx = regexp.MustCompile(`SPDX-License-Identifier: (.*?)\s*(\*/|-->)?$`)

func TestLicenceLines(t *testing.T) {
	for _, f := range allFiles(t) {
		if !f.hasSuffix(sources...) {
			continue
		}
		lines := strings.SplitN(f.text, "\n", 3)
		if strings.HasPrefix(lines[0], "#!") || strings.HasPrefix(lines[0], "<?xml") {
			lines = lines[1:] // that one has to be first
		}
		m := spdx.FindStringSubmatch(lines[0])
		want := licenceOf(f)
		switch {
		case m == nil:
			t.Errorf("%s: line 1 has to be SPDX-License-Identifier: %s", f.name, want)
		case m[1] == want, sharedByTwins(f) && (m[1] == mit || m[1] == dual || m[1] == userAPI):
		default:
			t.Errorf("%s: its licence is %s, want %s", f.name, m[1], want)
		}
	}
}

func TestLicenceTexts(t *testing.T) {
	for _, id := range []string{"MIT", "GPL-2.0", "Linux-syscall-note"} {
		text, err := os.ReadFile("../../" + licences + "/" + id + ".txt")
		if err != nil {
			t.Error(err)
		} else if len(text) < 500 {
			t.Errorf("%s.txt is not the whole text", id)
		}
	}
}
