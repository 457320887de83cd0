// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

// lanes prints what two sides do, as they do it, in two columns.
type lanes struct {
	mu sync.Mutex
	w  io.Writer
}

const lane = 50 // width of the program's column

func (l *lanes) head(left, right string) {
	l.print("step", left, right)
	l.print("----", strings.Repeat("-", lane-2), strings.Repeat("-", lane-2))
}

// program prints a line in the left lane.
func (l *lanes) program(step int, format string, args ...any) {
	l.print(fmt.Sprintf("%4d", step), fmt.Sprintf(format, args...), "")
}

// kernel prints a line in the right lane.
func (l *lanes) kernel(step int, format string, args ...any) {
	l.print(fmt.Sprintf("%4d", step), "", fmt.Sprintf(format, args...))
}

func (l *lanes) print(step, left, right string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := fmt.Sprintf("%s  %-*s%s", step, lane, left, right)
	fmt.Fprintln(l.w, strings.TrimRight(line, " "))
}
