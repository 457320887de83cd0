// SPDX-License-Identifier: MIT
//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"kshm/internal/vm/wire"
)

type mount struct {
	kind, dir string
	optional  bool // not every kernel has it
}

func mountAll() error {
	for _, m := range []mount{
		{"proc", "/proc", false},
		{"sysfs", "/sys", false},
		{"devtmpfs", "/dev", false},
		{"devpts", "/dev/pts", true},
		{"tmpfs", "/dev/shm", true},
		{"hugetlbfs", "/dev/hugepages", true},
		{"tmpfs", "/tmp", false},
		{"debugfs", "/sys/kernel/debug", true},
		{"tracefs", "/sys/kernel/tracing", true},
		{"cgroup2", "/sys/fs/cgroup", true},
		{"bpf", "/sys/fs/bpf", true},
	} {
		err := os.MkdirAll(m.dir, 0o755)
		if err == nil {
			err = syscall.Mount(m.kind, m.dir, m.kind, 0, "")
		}
		if err != nil && !m.optional {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		os.Chmod(dir, 0o777|os.ModeSticky)
	}
	for fd, name := range []string{"/dev/stdin", "/dev/stdout", "/dev/stderr"} {
		os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd), name)
	}
	os.Symlink("/proc/self/fd", "/dev/fd")
	return nil
}

// makeRaw turns off all that a terminal does to the bytes that pass it.
func makeRaw(f *os.File) error {
	var t syscall.Termios
	if err := ioctl(f.Fd(), syscall.TCGETS, unsafe.Pointer(&t)); err != nil {
		if err == syscall.ENOTTY || err == syscall.EINVAL {
			return nil // not a terminal at all
		}
		return fmt.Errorf("terminal settings of %s: %w", f.Name(), err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = syscall.CS8 | syscall.CREAD | syscall.CLOCAL | syscall.B115200
	t.Cc[syscall.VMIN], t.Cc[syscall.VTIME] = 1, 0
	return ioctl(f.Fd(), syscall.TCSETS, unsafe.Pointer(&t))
}

// drain waits until everything written to a terminal has left the machine.
func drain(f *os.File) {
	const tcsbrk = 0x5409 // with a non-zero argument it only waits
	syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), tcsbrk, 1)
}

// loopbackUp makes 127.0.0.1 work, where the kernel has a network.
func loopbackUp() error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(s)
	ifreq := struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(ifreq.name[:], "lo")
	if err := ioctl(uintptr(s), syscall.SIOCSIFFLAGS, unsafe.Pointer(&ifreq)); err != nil {
		return fmt.Errorf("loopback network: %w", err)
	}
	return nil
}

func ioctl(fd, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// pinned returns how many pages are pinned now, summed over all processors.
func pinned() int64 {
	os.WriteFile("/proc/sys/vm/stat_refresh", []byte("1"), 0)
	b, _ := os.ReadFile("/proc/vmstat")
	var acquired, released int64
	for _, line := range strings.Split(string(b), "\n") {
		name, value, _ := strings.Cut(line, " ")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "nr_foll_pin_acquired":
			acquired = n
		case "nr_foll_pin_released":
			released = n
		}
	}
	return acquired - released
}

const kmemleak = "/sys/kernel/debug/kmemleak"

// lookForLeaksLater keeps kmemleak, where the kernel has it, from looking by
// itself: that takes a processor away for long.
func lookForLeaksLater() { os.WriteFile(kmemleak, []byte("scan=off"), 0) }

// leaks returns what kmemleak finds, where the kernel has it. It reports only
// what has been unreachable for some seconds and in two scans. One that is off,
// as it is after it could not get memory, would find nothing.
func leaks() string {
	if _, err := os.Stat(kmemleak); err != nil {
		return ""
	}
	for i := range 3 {
		if err := os.WriteFile(kmemleak, []byte("scan"), 0); err != nil {
			return fmt.Sprintf("not looked for: %v", err)
		}
		if i == 0 {
			time.Sleep(6 * time.Second)
		}
	}
	b, err := os.ReadFile(kmemleak)
	if err != nil {
		return fmt.Sprintf("not seen: %v", err)
	}
	return string(b[:min(len(b), wire.MaxFrame/4)])
}

func tainted() uint64 {
	b, _ := os.ReadFile("/proc/sys/kernel/tainted")
	n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n
}

func uptime() float64 {
	b, _ := os.ReadFile("/proc/uptime")
	first, _, _ := strings.Cut(string(b), " ")
	s, _ := strconv.ParseFloat(first, 64)
	return s
}
