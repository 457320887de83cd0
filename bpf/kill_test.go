// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kshm/bpf"
	"kshm/bpf/live"
)

var kills = flag.Int("kills", 5, "programs that TestKill kills")

// ours are the eBPF objects in the kernel that are built on kshm.bpf.h; nil for
// a process that may not see them.
func ours(t testing.TB) map[string]bool {
	t.Helper()
	all, err := bpf.Loaded()
	if errors.Is(err, os.ErrPermission) && os.Getenv("CI") != "true" {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range all {
		found[name] = true
	}
	return found
}

// gone waits until nothing that is in the kernel now, and was not before, is
// there any longer. What other tests load meanwhile does not matter.
func gone(t testing.TB, before map[string]bool) {
	t.Helper()
	left := ours(t)
	maps.DeleteFunc(left, func(name string, _ bool) bool { return before[name] })
	for deadline := time.Now().Add(3 * time.Minute); len(left) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("left in the kernel: %v", left)
		}
		now := ours(t)
		maps.DeleteFunc(left, func(name string, _ bool) bool { return !now[name] })
	}
}

// victim shares, reads records of its own system calls, ends the share, and
// begins again, until it is killed.
func victim([]string) error {
	t := &fatal{}
	defer t.cleanup()
	go func() {
		for {
			stormOn(rand.IntN(runtime.NumCPU()), 1000)
		}
	}()
	for {
		t.cleanup()
		s := shareLive(t, 64, 64<<10, 2, bpf.Options{})
		fmt.Println("sharing")
		var readers sync.WaitGroup
		for i := range s.groups[0].Count {
			readers.Go(func() { s.read(t.Context(), s.groups[0], i) })
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		if err := s.Share.Close(); err != nil {
			return err
		}
		readers.Wait()
	}
}

// fatal is a testing.TB for children, which panics.
type fatal struct {
	testing.TB
	after []func()
}

func (f *fatal) Helper()           {}
func (f *fatal) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (f *fatal) Cleanup(do func()) { f.after = append(f.after, do) }

func (f *fatal) Context() context.Context { return context.Background() }

func (f *fatal) cleanup() {
	for i := len(f.after) - 1; i >= 0; i-- {
		f.after[i]()
	}
	f.after = nil
}

// Killed at any time, from loading to closing, a program leaves nothing.
func TestKill(t *testing.T) {
	needBPF(t)
	before := ours(t)
	shared := 0
	for i := range *kills {
		cmd := child(t, "victim")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i%4 != 0 { // else while it loads
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatalf("the child has not come to share: %v; %v", err, cmd.Wait())
			}
			shared++
		}
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
			t.Fatalf("the child ended by itself: %v", ws)
		}
		gone(t, before)
	}
	t.Logf("%d killed, %d of them after they had begun to share", *kills, shared)
	t.Logf("testfull: kills=%d operations=%d", *kills, *kills)
}

// refused tries to open the object, which is to fail, and ends as a program
// does.
func refused([]string) error {
	spec, err := live.Load(64)
	if err != nil {
		return err
	}
	dev, err := bpf.Open(spec, nil)
	if err != nil {
		return err
	}
	return dev.Close()
}

// copyOfSelf is this binary where anybody may run it.
func copyOfSelf(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kshm-bpf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := dir + "/test"
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(name, text, 0o755)); err != nil {
		t.Fatal(err)
	}
	return name
}

const nobody = 65534

// Without rights: one clear sentence, status 3, and nothing left behind.
func TestWithoutRights(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("only root can become nobody")
	}
	before := ours(t)
	cmd := child(t, "refused")
	cmd.Path = copyOfSelf(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	oneSentence(t, cmd, "CAP_PERFMON and CAP_BPF")
	gone(t, before)
}

// A kernel that is too old says so; any other takes the object.
func TestKernelVersion(t *testing.T) {
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	release := make([]byte, 0, len(name.Release))
	for _, c := range name.Release {
		release = append(release, byte(c))
	}
	if _, err := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	if major > 6 || major == 6 && minor >= 10 {
		needBPF(t)
		return
	}
	before := ours(t)
	oneSentence(t, child(t, "refused"), "Linux 6.10 or later")
	gone(t, before)
}

// oneSentence holds a command to fail for want of something: with status 3 and
// one line that names it.
func oneSentence(t *testing.T, cmd *exec.Cmd, names string) {
	t.Helper()
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("status %d, %v", code, err)
	}
	if said := string(out); strings.Count(said, "\n") != 1 || !strings.Contains(said, names) {
		t.Errorf("it says %q, want one line that names %q", said, names)
	}
	t.Logf("%s", out)
}
