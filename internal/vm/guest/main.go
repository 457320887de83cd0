// SPDX-License-Identifier: MIT
//go:build linux

// Command guest is the init of a kernel booted by package vm: it loads modules,
// runs one program, checks what the program left behind and reports to the
// host. It uses the standard library alone, because package vm compiles it from
// its embedded source on the user's machine.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"kshm/internal/vm/wire"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is the init of a virtual machine, not a program to run")
		os.Exit(2)
	}
	port, err := setUp()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		powerOff()
	}
	w := wire.NewWriter(port)
	w.SendJSON(wire.End, run(w))
	drain(port)
	powerOff()
}

// setUp prepares the system and opens the port to the host.
func setUp() (*os.File, error) {
	if err := mountAll(); err != nil {
		return nil, err
	}
	name := "/dev/ttyS1"
	if v, ok := kernelParameter("kshm.port"); ok {
		name = v
	}
	port, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := makeRaw(port); err != nil {
		return nil, err
	}
	// Boot is quiet, for speed. From here on the host wants every message.
	if err := os.WriteFile("/proc/sys/kernel/printk", []byte("8"), 0); err != nil {
		return nil, err
	}
	// A task that is stuck in a driver should show before the host loses
	// patience. Not every kernel looks for such tasks.
	os.WriteFile("/proc/sys/kernel/hung_task_timeout_secs", []byte("60"), 0)
	syscall.Sethostname([]byte("guest"))
	return port, loopbackUp()
}

// run does the job and everything that is checked around it.
func run(w *wire.Writer) (r wire.Report) {
	job, err := readJob()
	if err != nil {
		r.Failure = err.Error()
		return r
	}
	lookForLeaksLater()
	pins, taint := pinned(), tainted()
	loaded, err := insmod(job.Modules)
	if err != nil {
		r.Failure, r.Insmod = err.Error(), true
	} else if len(job.Argv) > 0 {
		r.Ready = uptime()
		r.Exit, err = execute(w, job)
		if err != nil {
			r.Failure = err.Error()
		}
		r.Killed = killAll()
	}
	r.Pins = settle(func() int64 { return pinned() - pins })
	r.Stuck = rmmod(loaded)
	r.Leaks = leaks()
	r.Taint = tainted() &^ taint
	if err := collect(w, job.Collect); err != nil && r.Failure == "" {
		r.Failure = err.Error()
	}
	return r
}

func readJob() (*wire.Job, error) {
	b, err := os.ReadFile(wire.JobPath)
	if err != nil {
		return nil, err
	}
	job := new(wire.Job)
	return job, json.Unmarshal(b, job)
}

// settle waits for a count to reach zero: a killed process may still be on its
// way out of the kernel.
func settle(count func() int64) (n int64) {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if n = count(); n == 0 || time.Now().After(end) {
			return n
		}
	}
}

func kernelParameter(name string) (string, bool) {
	b, _ := os.ReadFile("/proc/cmdline")
	for _, f := range strings.Fields(string(b)) {
		if v, ok := strings.CutPrefix(f, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// powerOff ends the machine. Nothing is worth an orderly end: no device holds
// anything, and shutting them all down takes long.
func powerOff() {
	if _, ok := kernelParameter("kshm.halt"); ok { // where a restart begins anew
		syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	}
	os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0)
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	select {}
}
