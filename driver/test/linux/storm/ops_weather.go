// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// The weather: what one privileged process does to the whole machine.

const (
	cgroupRoot = "/sys/fs/cgroup"
	cgroup     = cgroupRoot + "/storm" // of the ordinary processes
	parameters = "/sys/module/kshm/parameters/"
	cpuFile    = "/sys/devices/system/cpu/cpu1/online"
)

// setFile writes a file of the kernel's; a kernel without it has no such weather.
// The system calls are bare: one of these files says EAGAIN when it could not do
// all that was asked for, after which package os would wait for another chance.
func setFile(path, value string) syscall.Errno {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(value))
		unix.Close(fd)
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	return errno
}

func (l *lane) doCPU(a *[script.MaxArgs]uint32) syscall.Errno {
	was := strings.TrimSpace(text(cpuFile))
	want := strconv.Itoa(int(a[0]))
	err := setFile(cpuFile, want)
	if want != was { // else nothing changes
		l.board.effects[[2]effect{cpuGone, cpuBack}[a[0]]].note(err)
	}
	return err
}

func (l *lane) doMemory(a *[script.MaxArgs]uint32) syscall.Errno {
	if a[0] < 3 {
		return setFile(cgroup+"/memory.max", "max")
	}
	return l.board.effects[memoryTight].note(squeeze("memory", [2]int{1 << 20, 64 << 10}[a[0]-3]))
}

func (l *lane) doTasks(a *[script.MaxArgs]uint32) syscall.Errno {
	if a[0] != 1 {
		return setFile(cgroup+"/pids.max", "max")
	}
	return l.board.effects[tasksTight].note(squeeze("pids", 1))
}

// squeeze leaves the ordinary processes hardly more than they have.
func squeeze(what string, more int) syscall.Errno {
	now, _ := strconv.Atoi(strings.TrimSpace(text(cgroup + "/" + what + ".current")))
	return setFile(cgroup+"/"+what+".max", strconv.Itoa(now+more))
}

func (l *lane) doReclaim(a *[script.MaxArgs]uint32) syscall.Errno {
	switch a[0] {
	case 0:
		return setFile("/proc/sys/vm/drop_caches", "2")
	case 1:
		return setFile("/proc/sys/vm/compact_memory", "1")
	case 2:
		err := setFile(cgroup+"/memory.reclaim", "4M")
		if err == unix.EAGAIN { // reclaimed, though not as much
			l.board.effects[reclaimed].note(0)
			return err
		}
		return l.board.effects[reclaimed].note(err)
	}
	return setFile("/proc/sys/vm/drop_caches", "1")
}

// doUnload tries to unload the kit under its drivers: that has to be refused.
// What descriptors hold is for goneShares of driver/test/linux to see, and after
// each round for the tally.
func (l *lane) doUnload(a *[script.MaxArgs]uint32) syscall.Errno {
	flags := [2]int{unix.O_NONBLOCK, 0}[a[0]]
	err := patiently(func() error { return unix.DeleteModule("kshm", flags) })
	if err == nil {
		l.fault("the kit was unloaded under its drivers")
		return 0
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	return errno
}

// reloadable are the modules of drivers that can be unloaded at any time, with live shares.
var reloadable = [2]string{"digest", "kshm_loop"}

// moduleFile is where the machine has them.
func moduleFile(name string) string { return filepath.Join("/modules", name+".ko") }

// doReload unloads a driver under its shares and loads it again.
func (l *lane) doReload(a *[script.MaxArgs]uint32) syscall.Errno {
	name := reloadable[a[0]]
	err := patiently(func() error { return unix.DeleteModule(name, unix.O_NONBLOCK) })
	if err == nil {
		time.Sleep(time.Millisecond) // for programs that look for the node
		err = load(name)
	}
	errno, _ := errors.AsType[syscall.Errno](err)
	return errno
}

func load(name string) error {
	image, err := os.ReadFile(moduleFile(name))
	if err != nil {
		return err
	}
	return patiently(func() error { return unix.InitModule(image, "") })
}

// patiently makes a system call again that a signal has interrupted.
func patiently(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

var caps = [3][3]string{{"max_user_shares", "65536", "24"}, {"max_open_shares", "4096", "8"}, {"max_user_bytes", "0", "1048576"}}

func (l *lane) doCaps(a *[script.MaxArgs]uint32) syscall.Errno {
	which := caps[a[0]]
	return setFile(parameters+which[0], which[1+a[1]/2])
}

func (l *lane) doRest(a *[script.MaxArgs]uint32) syscall.Errno {
	time.Sleep(time.Duration(a[0]) * time.Millisecond)
	return 0
}

func clearCaps() {
	for _, c := range caps {
		setFile(parameters+c[0], c[1])
	}
}

// clearSky undoes whatever weather a process left behind.
func clearSky() error {
	setFile(cpuFile, "1")
	setFile(cgroup+"/memory.max", "max")
	setFile(cgroup+"/pids.max", "max")
	clearCaps()
	for _, name := range reloadable {
		if _, err := os.Stat("/sys/module/" + name); err == nil {
			continue
		}
		if err := load(name); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}
