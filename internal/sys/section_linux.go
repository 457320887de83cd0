// SPDX-License-Identifier: MIT

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

func sectionFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("kshm", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memfd:kshm"), nil
}
