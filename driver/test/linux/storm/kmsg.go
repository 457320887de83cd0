// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"os"
	"regexp"
	"strings"
	"syscall"
)

// complaint matches what a kernel says when it, or a module, is broken. The
// host that runs the machine judges its whole log, by more words.
var complaint = regexp.MustCompile(`\bBUG\b|\bWARNING:|\bOops\b|KASAN:|UBSAN:|ODEBUG:|general protection|list_(add|del) corruption|refcount_t|detected stall|lockup|blocked for more than`)

// complains reports whether a line of the log is a complaint. KCSAN's are not:
// most are about the kernel itself, and the host, which has the whole report,
// judges them by the module that it names.
func complains(line string) bool {
	return complaint.MatchString(line) && !strings.Contains(line, "BUG: KCSAN: ")
}

// A journal reads the kernel's log from where it was opened on.
type journal struct{ fd int }

func openJournal() (*journal, error) {
	fd, err := syscall.Open("/dev/kmsg", syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/kmsg", Err: err}
	}
	_, err = syscall.Seek(fd, 0, 2)
	return &journal{fd}, err
}

// complaints returns the lines since the last call that are one.
func (j *journal) complaints() (list []string) {
	buf := make([]byte, 8192)
	for {
		n, err := syscall.Read(j.fd, buf)
		if err == syscall.EPIPE {
			continue // some lines were overwritten; the host has them
		}
		if err != nil || n <= 0 {
			return list
		}
		_, line, _ := strings.Cut(string(buf[:n]), ";")
		line, _, _ = strings.Cut(line, "\n")
		if complains(line) {
			list = append(list, line)
		}
	}
}
