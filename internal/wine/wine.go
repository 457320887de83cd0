// SPDX-License-Identifier: MIT

// Package wine runs a Windows program in Wine, which comes as unpacked Debian
// packages. The program sees a system of its own: fresh registry and services,
// its own processes, all of which end with it. The machine's files are below
// Z:\host. Package main must call [Inside] first.
package wine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"kshm/internal/deps"
)

// insideEnv marks the process that is to become the system's first one.
const insideEnv = "KSHM_WINE_ROOT"

// notEntered is the status of that process if it cannot become it.
const notEntered = 125

// Path is how the program sees a file of the machine.
func Path(file string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", err
	}
	return `Z:\host` + strings.ReplaceAll(abs, "/", `\`), nil
}

// Run runs program with args in the current folder. env goes on top of the
// machine's environment. The status is the program's. The error satisfies
// errors.Is(err, deps.ErrUnavailable) where there can be no Wine.
func Run(ctx context.Context, w io.Writer, env []string, program string, args ...string) (status int, err error) {
	root, err := deps.Ensure(ctx, w, deps.Wine)
	if err != nil {
		return 0, err
	}
	windowsPath, err := Path(program)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{windowsPath}, args...)...)
	cmd.Env = append(append(os.Environ(), env...), insideEnv+"="+root)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := separate(cmd); err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, refused(err)
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == notEntered {
		return 0, refused(errors.New("it says above what it was refused"))
	} else if ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// refused says that the machine does not let this user enter another system.
func refused(err error) error {
	return &deps.UnavailableError{What: "Wine", Err: err,
		Why: fmt.Sprintf("it needs root, or a kernel that lets users make and mount namespaces of their own (%v)", err)}
}
