// SPDX-License-Identifier: MIT

package vm

import (
	"bytes"
	"path/filepath"
	"strings"
)

// The kernel's own code does not keep the rules by which KCSAN judges, so of
// its reports only those count that name a module under test: in a stack of one
// of the two accesses, as "function+0x1/0x2 [module]".

var (
	raceBegins = []byte("BUG: KCSAN: ")
	raceEnds   = []byte("==================================================================")
)

// withoutForeignRaces returns the log without the reports of data races that
// name none of the modules, and how many those are. A report that has no end is
// left in.
func withoutForeignRaces(log []byte, modules []string) (rest []byte, foreign int) {
	for {
		at := bytes.Index(log, raceBegins)
		if at < 0 {
			return append(rest, log...), foreign
		}
		at = bytes.LastIndexByte(log[:at], '\n') + 1
		length := bytes.Index(log[at:], raceEnds)
		if length < 0 {
			return append(rest, log...), foreign
		}
		end := at + length + len(raceEnds)
		rest = append(rest, log[:at]...)
		if names(log[at:end], modules) {
			rest = append(rest, log[at:end]...)
		} else {
			foreign++
		}
		log = log[end:]
	}
}

func names(report []byte, modules []string) bool {
	for _, m := range modules {
		if bytes.Contains(report, []byte("["+m+"]")) {
			return true
		}
	}
	return false
}

// underTest names the modules that the run is about.
func (o *Options) underTest() (names []string) {
	for _, m := range o.Modules {
		file, _, _ := strings.Cut(filepath.Base(m.Path), ".")
		names = append(names, moduleName(file))
	}
	return names
}
