// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"syscall"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// A set holds error numbers.
type set [(maxErrno + 63) / 64]uint64

func (s *set) has(err syscall.Errno) bool {
	return s[0] == 0 || err < maxErrno && s[err/64]&(1<<(err%64)) != 0
}

// answers makes a set of success, the errors of a descriptor that another lane
// has closed or replaced, and the given ones.
func answers(more ...syscall.Errno) (s set) {
	for _, err := range append(more, 0, unix.EBADF, unix.ENOTTY) {
		s[err/64] |= 1 << (err % 64)
	}
	return s
}

var shareAnswers = []syscall.Errno{unix.ENODEV, unix.ENOMEM, unix.EMFILE, unix.EUSERS, unix.EDQUOT, unix.EFAULT,
	unix.EMEDIUMTYPE, unix.ERANGE, unix.EOPNOTSUPP, unix.EINVAL}

// documented are the answers that kshm may give, by kind. An empty set stands
// for what is the kernel's own business.
var documented = [script.NumKinds]set{
	script.Share:    answers(shareAnswers...),
	script.BadShare: answers(append(shareAnswers, unix.EOVERFLOW, unix.E2BIG)...),
	script.BadCall:  answers(append(shareAnswers, unix.EOVERFLOW, unix.E2BIG, unix.ESHUTDOWN, unix.ENOENT)...),
	script.Exchange: answers(shareAnswers...),
	script.Done:     answers(),
	script.Kick:     answers(unix.ESHUTDOWN, unix.EOPNOTSUPP),
	script.Stats:    answers(unix.EMFILE),
	script.Info:     answers(unix.ENODEV),
	script.Read:     answers(unix.EAGAIN, unix.EINVAL), // EINVAL of a device
	script.Wait:     answers(unix.EINTR),
	script.Open:     answers(unix.ENOENT, unix.EACCES, unix.EMFILE, unix.ENODEV, unix.ENXIO, unix.ENOMEM),
	script.Tell:     answers(unix.EINVAL, unix.ENOENT, unix.ERANGE, unix.ENOMEM, unix.ENODEV, unix.EOPNOTSUPP),
	script.Produce:  answers(unix.ENOENT, unix.ERANGE, unix.ENOMEM, unix.ENODEV, unix.EOPNOTSUPP, unix.EXDEV, unix.EIO, unix.EINVAL),
	script.Count:    answers(unix.EINVAL, unix.ENOENT, unix.ENOMEM, unix.ENODEV, unix.EOPNOTSUPP),
	script.Unload:   answers(unix.EWOULDBLOCK),
	script.Reload:   answers(),
}
