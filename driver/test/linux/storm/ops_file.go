// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

func (l *lane) doClose(a *[script.MaxArgs]uint32) syscall.Errno {
	keep(&l.slots[a[0]], -1)
	return 0
}

func (l *lane) doDup(a *[script.MaxArgs]uint32) syscall.Errno {
	fd, err := raw(unix.SYS_FCNTL, uintptr(l.slots[a[0]].Load()), unix.F_DUPFD_CLOEXEC, 0)
	if err == 0 {
		keep(&l.slots[a[1]], int32(fd))
	}
	return err
}

// letter prepares a message of one byte with room for one descriptor.
func (l *lane) letter() {
	l.vector = unix.Iovec{Base: &l.buffer[0], Len: 1}
	l.message = unix.Msghdr{Iov: &l.vector, Iovlen: 1, Control: &l.rights[0], Controllen: uint64(len(l.rights))}
}

// doSend puts a descriptor into a socket that all processes read from.
func (l *lane) doSend(a *[script.MaxArgs]uint32) syscall.Errno {
	fd := l.slots[a[0]].Load()
	if fd < 0 {
		return unix.EBADF
	}
	l.letter()
	head := (*unix.Cmsghdr)(unsafe.Pointer(&l.rights))
	*head = unix.Cmsghdr{Len: unix.SizeofCmsghdr + 4, Level: unix.SOL_SOCKET, Type: unix.SCM_RIGHTS}
	binary.NativeEndian.PutUint32(l.rights[unix.SizeofCmsghdr:], uint32(fd))
	_, err := raw(unix.SYS_SENDMSG, uintptr(socketFD+a[1]), uintptr(unsafe.Pointer(&l.message)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return err
}

func (l *lane) doReceive(a *[script.MaxArgs]uint32) syscall.Errno {
	l.letter()
	_, err := raw(unix.SYS_RECVMSG, uintptr(socketFD+a[0]), uintptr(unsafe.Pointer(&l.message)), unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err == 0 && l.message.Controllen >= unix.SizeofCmsghdr+4 {
		keep(&l.slots[a[1]], int32(binary.NativeEndian.Uint32(l.rights[unix.SizeofCmsghdr:])))
	}
	return err
}

// paths of the device nodes, as system calls want them.
var paths = [4]*byte{}

func init() {
	for i, name := range drivers {
		paths[i], _ = syscall.BytePtrFromString("/dev/kshm/" + name)
	}
}

// doOpen opens a device anew, in one of the places that are not inherited. It
// has the same driver as the one that is, so that the place says which it is.
func (l *lane) doOpen(a *[script.MaxArgs]uint32) syscall.Errno {
	fd, err := raw6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(paths[a[0]%4])), unix.O_RDWR|unix.O_CLOEXEC, 0, 0, 0)
	if err == 0 {
		keep(&l.devices[4+a[0]%4], int32(fd))
	}
	return err
}
