// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// Locked memory goes back to the user who was charged, whoever the process is
// by then.
func TestSetuidWhileShared(t *testing.T) {
	device := rawOpen(t, "probe")
	const limit = 64 << 10
	if err := setMemlockLimit(limit); err != nil {
		t.Fatal(err)
	}
	defer setMemlockLimit(unix.RLIM_INFINITY)
	mem := mmap(t, limit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	whole := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: limit, Access: abi.AccessRead}
	page := whole
	page.Length = 1
	const first, second = 2001, 2002
	failures := make(chan string, 20)
	go func() {
		defer close(failures)
		runtime.LockOSThread() // for good: the thread ends with this function
		become := func(uid int) {
			unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0))
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), 0); errno != 0 {
				failures <- fmt.Sprintf("setresuid %d: %v", uid, errno)
			}
		}
		expect := func(what string, a abi.ShareArgs, want error) int {
			s, err := rawShare(device, a)
			if err != want && !(err == nil && want == nil) {
				failures <- fmt.Sprintf("%s: %v, want %v", what, err, want)
			}
			return s
		}
		for _, done := range []bool{true, false} {
			become(first)
			s := expect("the first user's whole limit", whole, nil)
			expect("a page more", page, unix.EDQUOT)
			become(second)
			unix.Close(expect("the second user's whole limit, beside it", whole, nil))
			if done {
				cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
				if _, err := rawIoctl(s, abi.IoctlDone, unsafe.Pointer(&cmd)); err != nil {
					failures <- fmt.Sprintf("DONE: %v", err)
				}
			}
			unix.Close(s)
			s = expect("the second user's whole limit, after the end", whole, nil)
			expect("a page more: the end was credited to the wrong user", page, unix.EDQUOT)
			become(first)
			again := expect("the first user's whole limit again", whole, nil)
			expect("a page more, again", page, unix.EDQUOT)
			unix.Close(again)
			unix.Close(s)
		}
	}()
	for f := range failures {
		t.Error(f)
	}
}

const beforeShare = "SHARE comes next"

// playGlutton shares more memory than its cgroup may have.
func playGlutton() {
	const size = 256 << 20
	device, err := unix.Open("/dev/kshm/probe", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Println(err)
		os.Exit(70)
	}
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		fmt.Println(err)
		os.Exit(71)
	}
	os.Stdout.WriteString(beforeShare)
	_, err = rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: size, Access: abi.AccessRead | abi.AccessWrite})
	fmt.Println("SHARE answered", err)
}

// A process that its cgroup has no memory for is killed inside SHARE, and leaves
// nothing: no page of it stays charged to the cgroup.
func TestOutOfMemoryInShare(t *testing.T) {
	dev := open(t, "probe")
	group := memoryGroup(t, 48<<20)
	kills, shares := 0, probeCountsNow(t, dev).Shares
	for round := range 5 {
		child := exec.Command("/proc/self/exe")
		child.Env = append(os.Environ(), "KSHM_TEST_CHILD=glutton", "GOMEMLIMIT=16MiB")
		dir, err := os.Open(group)
		if err != nil {
			t.Fatal(err)
		}
		child.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		out, err := child.CombinedOutput()
		dir.Close()
		status, ok := child.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("round %d: %v, %s: it was not killed", round, err, out)
		}
		if string(out) != beforeShare {
			t.Errorf("round %d: killed, but not inside SHARE: it said %q", round, out)
		}
		now := groupNumber(t, group, "memory.events", "oom_kill")
		if now == kills {
			t.Errorf("round %d: killed, but not for want of memory", round)
		}
		kills = now
	}
	if n := probeCountsNow(t, dev).Shares - shares; n != 0 {
		t.Errorf("%d shares came about all the same", n)
	}
	// TestKitIsCharged looks at the kit's own memory.
	left := 0
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if left = groupNumber(t, group, "memory.stat", "anon"); left == 0 {
			break
		}
	}
	if left != 0 {
		t.Errorf("%d bytes of anonymous memory stay charged to the group", left)
	}
	s, _ := share(t, dev, 4096, nil)
	if err := s.Kick(); err != nil {
		t.Errorf("the next share: %v", err)
	}
}

// memoryGroup makes a cgroup that may have that much memory.
func memoryGroup(t *testing.T, limit int) string {
	t.Helper()
	const root = "/sys/fs/cgroup"
	err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0)
	needs(t, err == nil, fmt.Sprintf("cgroups that limit memory (%v)", err))
	group := filepath.Join(root, "kshm-test")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	for name, value := range map[string]string{"memory.max": fmt.Sprint(limit), "memory.oom.group": "1"} {
		if err := os.WriteFile(filepath.Join(group, name), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	return group
}

// groupNumber reads "name value" from a file of a cgroup.
func groupNumber(t *testing.T, group, file, name string) (n int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(group, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if value, ok := strings.CutPrefix(string(line), name+" "); ok {
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return 0
}
