// SPDX-License-Identifier: MIT

package vm

import (
	"os/exec"
	"runtime"
	"syscall"
)

// dieWithParent has the kernel kill cmd when this process ends, however it
// ends. To Linux the parent is a thread, so the calling goroutine keeps its own
// until it calls release.
func dieWithParent(cmd *exec.Cmd) (release func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return runtime.UnlockOSThread
}
