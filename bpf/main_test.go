// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/bpf"
	"kshm/bpf/live"
	"kshm/bpf/loop"
)

// roleEnv says what a child process of a test is to do instead of testing.
const roleEnv = "KSHM_BPF_ROLE"

var roles = map[string]func(args []string) error{
	"storm":   storm,
	"victim":  victim,
	"refused": refused,
	"guest":   guest,
	"keeper":  keeper,
}

func TestMain(m *testing.M) {
	if role, args, _ := strings.Cut(os.Getenv(roleEnv), " "); role != "" {
		if err := roles[role](strings.Fields(args)); err != nil {
			fmt.Println(err)
			os.Exit(status(err))
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// status is how the project's programs end: 3 if the machine lacks something.
func status(err error) int {
	if errors.Is(err, kshm.ErrPermission) || errors.Is(err, kshm.ErrNotSupported) {
		return 3
	}
	return 1
}

// child starts this binary in a role. It reads from the returned command's
// standard input, if the role does.
func child(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role+" "+strings.Join(args, " "), live.NameEnv+"="+live.Name)
	cmd.Stderr = os.Stderr
	return cmd
}

// needBPF skips where eBPF cannot be used, in one line.
func needBPF(t testing.TB) {
	t.Helper()
	spec, err := loop.Load()
	if err != nil {
		t.Fatal(err)
	}
	dev, err := bpf.Open(spec, nil)
	if err == nil {
		dev.Close()
		return
	}
	if status(err) == 3 && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// storm makes events for the live hooks on all processors: args[0] system
// calls on each, once there is a byte to read.
func storm(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	var all sync.WaitGroup
	errs := make(chan error, runtime.NumCPU())
	for cpu := range runtime.NumCPU() {
		all.Go(func() { errs <- stormOn(cpu, n) })
	}
	all.Wait()
	for range runtime.NumCPU() {
		err = errors.Join(err, <-errs)
	}
	return err
}

func stormOn(cpu, n int) error {
	runtime.LockOSThread() // and never unlock: the thread keeps its name
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/self/task/%d/comm", unix.Gettid()), []byte(live.Name), 0); err != nil {
		return err
	}
	for range n {
		if _, _, errno := syscall.RawSyscall(live.Syscall, 0, 0, 0); errno != syscall.ENOSYS {
			return errno
		}
	}
	return nil
}

// tickingOf tells whether the timer runs.
func tickingOf(state []byte) uint32 { return binary.NativeEndian.Uint32(state[44:]) }

// ticksOf reads the timer's runs from struct kshm_state.
func ticksOf(state []byte) uint64 { return binary.NativeEndian.Uint64(state[136:]) }
