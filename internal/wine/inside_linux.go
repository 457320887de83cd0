// SPDX-License-Identifier: MIT

package wine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// separate gives the process file systems and process numbers of its own, so
// that nothing is left of it; a plain user gets users of his own for that.
func separate(cmd *exec.Cmd) error {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = a
	return nil
}

// Inside does not return in the process that Run has started: it enters the
// unpacked system, runs the program there and exits with its status.
func Inside() {
	root := os.Getenv(insideEnv)
	if root == "" {
		return
	}
	os.Unsetenv(insideEnv)
	status, err := inside(root, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "wine:", err)
		status = notEntered
	}
	os.Exit(status)
}

func inside(root string, args []string) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	if err := enter(root); err != nil {
		return 0, err
	}
	if err := os.Chdir(filepath.Join("/host", dir)); err != nil {
		return 0, err
	}
	cmd := exec.Command("/usr/lib/wine/wine64", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = environment()
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// enter mounts what the system needs of the machine, and makes it the root.
func enter(root string) error {
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE}, // nothing of this is seen outside
		{"/", root + "/host", "", syscall.MS_BIND | syscall.MS_REC},
		{"/dev", root + "/dev", "", syscall.MS_BIND | syscall.MS_REC},
		{"proc", root + "/proc", "proc", 0},
		{"tmpfs", root + "/tmp", "tmpfs", 0}, // the registry and drive C: new each time
	}
	for _, m := range mounts {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := syscall.Chroot(root); err != nil {
		return fmt.Errorf("enter %s: %w", root, err)
	}
	return os.Mkdir("/tmp/home", 0o700)
}

// environment is what the program gets: Wine hands it on, except for names that
// Windows has its own of.
func environment() []string {
	env := []string{"PATH=/usr/bin", "HOME=/tmp/home", "WINEPREFIX=/tmp/prefix", "WINESERVER=/usr/lib/wine/wineserver64", "DISPLAY="}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "KSHM_") || strings.HasPrefix(v, "CI=") || strings.HasPrefix(v, "GODEBUG=") || strings.HasPrefix(v, "GOTRACEBACK=") {
			env = append(env, v)
		}
	}
	if debug, ok := os.LookupEnv("WINEDEBUG"); ok {
		return append(env, "WINEDEBUG="+debug)
	}
	return append(env, "WINEDEBUG=-all")
}
