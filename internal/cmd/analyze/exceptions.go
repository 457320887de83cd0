// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"strings"
)

// An exception argues a finding away.
type exception struct {
	line                         int
	analyzer, file, text, reason string
}

type exceptions []exception

// readExceptions reads a file of lines "analyzer | file | part of the text |
// reason"; lines that begin with # are for readers.
func readExceptions(name string) (all exceptions, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("analyze: %w", err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
			if fields[i] == "" {
				fields = nil
				break
			}
		}
		if len(fields) != 4 {
			return nil, fmt.Errorf("analyze: %s:%d: want analyzer | file | text | reason", name, n)
		}
		all = append(all, exception{n, fields[0], fields[1], fields[2], fields[3]})
	}
	return all, nil
}

func (e exception) covers(f finding) bool {
	return e.analyzer == f.analyzer && e.file == f.file && strings.Contains(f.text, e.text)
}

// apply returns the findings that nothing covers and the exceptions that cover
// nothing.
func (all exceptions) apply(found []finding) (left []finding, stale exceptions) {
	used := make([]bool, len(all))
	for _, f := range found {
		covered := false
		for i, e := range all {
			if e.covers(f) {
				used[i], covered = true, true
			}
		}
		if !covered {
			left = append(left, f)
		}
	}
	for i, e := range all {
		if !used[i] {
			stale = append(stale, e)
		}
	}
	return left, stale
}
