// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"kshm"
)

// Share is the child: it shares memory with a driver, hands the descriptor to
// a process of its own, whose command is holder, and waits to be killed. Its
// standard input and output are the family's pipes.
func Share(device string, holder []string) error {
	dev, err := kshm.Open(device)
	if err != nil {
		return err
	}
	buf, err := dev.Alloc(digestData+pieceSize, nil)
	if err != nil {
		return err
	}
	share, err := dev.Share(buf, nil)
	if err != nil {
		return err
	}
	st, err := share.Stats()
	if err != nil {
		return err
	}
	fd, err := shareDescriptor()
	if err != nil {
		return err
	}
	cmd := exec.Command(holder[0], holder[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, []*os.File{fd}
	fmt.Println(lineShared, int64(st.Pinned)/int64(os.Getpagesize()))
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(fd)
	return errors.Join(err, share.Close())
}

// shareDescriptor finds the one share of this process. Package kshm keeps
// descriptors to itself; a process can pass them on all the same.
func shareDescriptor() (*os.File, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || target != "anon_inode:[kshm]" {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), target), nil
	}
	return nil, errors.New("this process has no descriptor of a share")
}
