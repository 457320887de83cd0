// SPDX-License-Identifier: MIT

package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// newUML starts kernels that are programs themselves: no instruction is
// translated, and memory has the machine's own speed, but each system call of
// the guest takes several of the host.
func newUML(o Options) (*machine, error) {
	if len(o.Disks) > 0 {
		return nil, fmt.Errorf("vm: kernel %s takes no disks", o.Kernel.Name)
	}
	return &machine{accel: UML, command: umlCommand}, nil
}

func umlCommand(ctx context.Context, _ Accel, o Options) *exec.Cmd {
	args := []string{
		"mem=" + strconv.Itoa(o.Memory) + "M", "ncpus=" + strconv.Itoa(o.CPUs), "seccomp=on",
		"initrd=/proc/self/fd/4",
		"con=null", "con0=null,fd:1", "console=tty0",
		"ssl=null", "ssl0=null,fd:3", "kshm.port=/dev/ttyS0", "kshm.halt=1",
		"quiet", "panic=-1", "oops=panic",
	}
	if o.Kernel.Debug {
		args = append(args, "page_poison=1")
	}
	cmd := exec.CommandContext(ctx, o.Kernel.Image, append(args, o.Cmdline...)...)
	cmd.Env = append(os.Environ(), "HOME="+os.TempDir()) // where it keeps a file of its own
	return cmd
}

// umlRelease asks a kernel that is a program for its release.
func umlRelease(image string) (string, error) {
	out, err := exec.Command(image, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("not a kernel that runs as a program: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
