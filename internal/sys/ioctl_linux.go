// SPDX-License-Identifier: MIT

package sys

import (
	"encoding/binary"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// ioctl sends a command and returns the kernel's non-negative answer. A signal
// that interrupts it before it has done anything starts it again.
func ioctl[T any](f *os.File, request uintptr, command *T) (int, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, closedError(err)
	}
	var answer uintptr
	var errno unix.Errno
	err = conn.Control(func(fd uintptr) {
		for {
			answer, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(command)))
			if errno != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return 0, closedError(err)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(answer), nil
}

func control(f *os.File, code uint32, in, out []byte) (int, error) {
	defer runtime.KeepAlive(in)
	defer runtime.KeepAlive(out)
	// Pinned: the kernel reads the addresses out of the command.
	var pin runtime.Pinner
	defer pin.Unpin()
	for _, b := range [][]byte{in, out} {
		if len(b) > 0 {
			pin.Pin(unsafe.SliceData(b))
		}
	}
	return ioctl(f, abi.IoctlControl, &abi.Control{
		Size: abi.SizeofControl, Code: code,
		In: address(in), In_length: uint32(len(in)),
		Out: address(out), Out_length: uint32(len(out)),
	})
}

type nativeUint64 [8]byte

func (n *nativeUint64) value() uint64 { return binary.NativeEndian.Uint64(n[:]) }
