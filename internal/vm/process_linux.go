// SPDX-License-Identifier: MIT

package vm

import (
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// contain keeps a machine, which may consist of several processes, from
// outliving its use: they form a group that is killed with the context and on
// release, and the kernel kills the first when this process ends, however it
// ends. To Linux the parent is a thread, so the calling goroutine keeps its own
// until release.
func contain(cmd *exec.Cmd) (release func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	return func() {
		if cmd.Process != nil {
			kill() // fails if, as is usual, nobody is left
		}
		runtime.UnlockOSThread()
	}
}

// urgently has start make a process that runs before all that are not urgent,
// with all its threads, if this process may ask for that. It is called on a
// goroutine that keeps its thread.
func urgently(start func() error) error {
	mine, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0)
	}
	if err != nil {
		return start()
	}
	defer unix.SchedSetAttr(0, mine, 0)
	// A machine inherits the limit of this process on time without a sleep,
	// which is for threads, if it has set one.
	const rtTime = 15
	unix.Setrlimit(rtTime, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	return start()
}
