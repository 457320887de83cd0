// SPDX-License-Identifier: MIT
//go:build linux

package vm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kshm/internal/deps"
	"kshm/internal/vm"
)

// needVM keeps tests that boot machines out of the rung that runs anywhere.
func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv("KSHM_VM") == "" {
		t.Skip("boots a virtual machine; set KSHM_VM=1")
	}
}

// A lab is one kernel with the misbehaving module built for it.
type lab struct {
	kernel vm.Kernel
	hello  string
}

var labs sync.Map // name to func() (lab, error)

func openLab(t *testing.T, name string) lab {
	t.Helper()
	needVM(t)
	open, _ := labs.LoadOrStore(name, sync.OnceValues(func() (lab, error) {
		ctx := context.Background()
		k, err := vm.Fetch(ctx, os.Stderr, name)
		if err != nil {
			return lab{}, err
		}
		build := deps.Build{Dirs: []string{"testdata/hello"}, Out: filepath.Join(vm.Scratch(), name), Strict: true}
		if b, ok := deps.LookupKernel(name); ok {
			build.Headers, build.Make = b.Headers(deps.ReadyKernel(b)), b.Make()
		} else {
			build.Kernel, _ = deps.Lookup("kernel-" + name)
		}
		var log bytes.Buffer
		made, err := deps.BuildModules(ctx, &log, build)
		if err != nil {
			return lab{}, fmt.Errorf("%w\n%s", err, &log)
		}
		return lab{k, made[0]}, nil
	}))
	l, err := open.(func() (lab, error))()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// boot runs prog in a guest.
func (l lab) boot(t *testing.T, o vm.Options, args ...string) (res *vm.Result, stdout, stderr string, err error) {
	t.Helper()
	if o.Program, err = vm.Prog(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	o.Kernel, o.Args, o.Stdout, o.Stderr, o.Progress = l.kernel, args, &out, &errs, os.Stderr
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	res, err = vm.Run(ctx, o)
	if res != nil && t.Failed() {
		t.Logf("kernel log:\n%s", res.Log)
	}
	return res, out.String(), errs.String(), err
}

// eachKernel runs f for the kernels that KSHM_VM names, for all if it is 1.
func eachKernel(t *testing.T, f func(t *testing.T, l lab)) {
	needVM(t)
	names := strings.Fields(os.Getenv("KSHM_VM"))
	if slices.Equal(names, []string{"1"}) {
		names = vm.KernelNames()
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { f(t, openLab(t, name)) })
	}
}

func TestExitStatus(t *testing.T) {
	eachKernel(t, func(t *testing.T, l lab) {
		res, _, _, err := l.boot(t, vm.Options{Modules: []vm.Module{{Path: l.hello}}}, "exit", "42")
		if err != nil || res.Exit != 42 {
			t.Errorf("exit status %d, want 42; error: %v", res.Exit, err)
		}
		for _, want := range []string{"hello: fault=", "hello: bye"} {
			if !bytes.Contains(res.Log, []byte(want)) {
				t.Errorf("the kernel log lacks %q:\n%s", want, res.Log)
			}
		}
	})
}

func TestSignalStatus(t *testing.T) {
	res, _, _, err := openLab(t, "6.1").boot(t, vm.Options{}, "signal")
	if err != nil || res.Exit != 128+9 {
		t.Errorf("exit status %d, want 137; error: %v", res.Exit, err)
	}
}

// TestFaults makes the module misbehave in every way and wants each noticed.
func TestFaults(t *testing.T) {
	eachKernel(t, func(t *testing.T, l lab) {
		for fault, want := range map[string]error{
			"refuse": vm.ErrLoad,
			"warn":   vm.ErrSplat,
			"sleep":  vm.ErrSplat,
			"oops":   vm.ErrPanic,
			"bug":    vm.ErrPanic,
			"pin":    vm.ErrPinLeak,
			"stuck":  vm.ErrUnload,
		} {
			if l.kernel.UML && fault == "sleep" {
				continue // it does not count what makes a context one that may not sleep
			}
			t.Run(fault, func(t *testing.T) {
				t.Parallel()
				o := vm.Options{Modules: []vm.Module{{Path: l.hello, Params: "fault=" + fault}}}
				_, _, _, err := l.boot(t, o, "exit", "0")
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
				for _, other := range []error{vm.ErrLoad, vm.ErrSplat, vm.ErrPanic, vm.ErrPinLeak, vm.ErrUnload} {
					if other != want && errors.Is(err, other) {
						t.Errorf("got %v as well", other)
					}
				}
			})
		}
	})
}

// TestComplaintInLog shows that a complaint counts whoever makes it, at a level
// that a quiet console would not show.
func TestComplaintInLog(t *testing.T) {
	_, _, _, err := openLab(t, "6.1").boot(t, vm.Options{}, "kmsg", "<6>refcount_t: underflow; use-after-free.")
	if !errors.Is(err, vm.ErrSplat) || !strings.Contains(err.Error(), "use-after-free") {
		t.Errorf("got %v, want a splat", err)
	}
}

func TestTimeout(t *testing.T) {
	l := openLab(t, "6.1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	path, err := vm.Prog()
	if err != nil {
		t.Fatal(err)
	}
	hanging := &trigger{text: "hanging", pull: cancel}
	_, err = vm.Run(ctx, vm.Options{Kernel: l.kernel, Program: path, Args: []string{"hang"}, Stdout: hanging})
	if !errors.Is(err, vm.ErrTimeout) {
		t.Errorf("got %v, want %v", err, vm.ErrTimeout)
	}
	if left := children(t, os.Getpid()); left != "" {
		t.Errorf("processes left: %s", left)
	}
}

// TestMachineDiesWithItsParent kills the process that runs the machine, which
// leaves it no chance to clean up.
func TestMachineDiesWithItsParent(t *testing.T) {
	openLab(t, "6.1") // so that everything is fetched
	runner := filepath.Join(t.TempDir(), "vmrun")
	if out, err := exec.Command("go", "build", "-o", runner, "kshm/internal/cmd/vmrun").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := vm.Prog()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(runner, program, "hang")
	hanging := make(chan struct{})
	cmd.Stdout, cmd.Stderr = &trigger{text: "hanging", pull: sync.OnceFunc(func() { close(hanging) })}, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-hanging:
	case <-time.After(3 * time.Minute):
		t.Error("the guest did not start")
	}
	machines := strings.Fields(children(t, cmd.Process.Pid))
	cmd.Process.Kill()
	cmd.Wait()
	if len(machines) != 1 {
		t.Fatalf("it ran %d machines, want 1", len(machines))
	}
	for end := time.Now().Add(time.Minute); runs(machines[0]); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the machine still runs")
		}
	}
}

// runs reports whether a process is there and not a zombie.
func runs(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z")
}

// A trigger pulls when it has seen a text.
type trigger struct {
	seen bytes.Buffer
	text string
	pull func()
}

func (w *trigger) Write(p []byte) (int, error) {
	w.seen.Write(p)
	if strings.Contains(w.seen.String(), w.text) {
		w.pull()
	}
	return len(p), nil
}

// children lists the processes that a process has started and that still run.
func children(t *testing.T, pid int) string {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal("the host's kernel does not list children", err)
	}
	var all strings.Builder
	for _, name := range tasks {
		b, _ := os.ReadFile(name)
		all.Write(b)
	}
	return all.String()
}

func TestOrphansAreKilled(t *testing.T) {
	res, _, _, err := openLab(t, "6.1").boot(t, vm.Options{}, "orphan")
	if err != nil || res.Exit != 0 || res.Killed != 1 {
		t.Errorf("exit status %d, %d killed, error %v; want 0, 1, none", res.Exit, res.Killed, err)
	}
}

func TestSurroundings(t *testing.T) {
	l := openLab(t, "6.1")
	host := t.TempDir()
	in := filepath.Join(host, "in")
	if err := os.WriteFile(in, []byte("made on the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	back := filepath.Join(host, "deep", "back")
	_, stdout, stderr, err := l.boot(t, vm.Options{
		Dir: "/some/where", Env: []string{"KSHM_TEST=value"}, Stdin: in,
		Files:   []vm.File{{Host: host, Guest: "/data"}},
		Collect: []vm.File{{Host: back, Guest: "/out/file"}, {Host: host + "/none", Guest: "/out/none"}},
	}, "facts", "/data/in", "/out/file")
	if err != nil {
		t.Fatal(err)
	}
	want := "dir /some/where\nenv value\nfile made on the host <nil>\nstdin made on the host <nil>\n"
	if stdout != want || stderr != "to stderr\n" {
		t.Errorf("stdout %q, want %q; stderr %q", stdout, want, stderr)
	}
	if b, err := os.ReadFile(back); string(b) != "made in the guest" {
		t.Errorf("the collected file holds %q, error %v", b, err)
	}
	if _, err := os.Stat(host + "/none"); err == nil {
		t.Error("a file that the guest does not have was collected")
	}
}

func TestBulkOutputIsComplete(t *testing.T) {
	const n = 50000
	_, stdout, _, err := openLab(t, "6.1").boot(t, vm.Options{}, "bulk", fmt.Sprint(n))
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range n {
		fmt.Fprintln(&want, i)
	}
	if stdout != want.String() {
		t.Errorf("%d bytes arrived, want %d, or their content differs", len(stdout), want.Len())
	}
}

func TestKernelModulesAndHugePages(t *testing.T) {
	eachKernel(t, func(t *testing.T, l lab) {
		// virtio_blk stands on virtio and virtio_ring.
		_, stdout, _, err := l.boot(t, vm.Options{KernelModules: []string{"virtio-blk", "loop"}}, "devices", "/sys/module/virtio_blk", "/dev/loop-control")
		if want := "/sys/module/virtio_blk <nil>\n/dev/loop-control <nil>\n"; err != nil || stdout != want {
			t.Errorf("got %q, error %v; want %q", stdout, err, want)
		}
		_, stdout, _, err = l.boot(t, vm.Options{HugePages: 7}, "hugepages")
		if err != nil || stdout != "7\n" {
			t.Errorf("got %q, error %v; want 7 huge pages", stdout, err)
		}
	})
}

// TestDisk gives the guest a file that has lost its name and does not end on a
// sector, larger than the guest's memory.
func TestDisk(t *testing.T) {
	const size, memory = 200<<20 + 100, 160
	f, err := os.CreateTemp(t.TempDir(), "disk")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	os.Remove(f.Name())
	h := adler32.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.NewChaCha8([32]byte{}), size); err != nil {
		t.Fatal(err)
	}
	h.Write(make([]byte, 512-size%512))
	want := fmt.Sprintf("%d <nil>\nwrite refused: true\n", h.Sum32())
	eachKernel(t, func(t *testing.T, l lab) {
		_, stdout, _, err := l.boot(t, vm.Options{Disks: []*os.File{f}, Memory: memory}, "disk", "/dev/vda")
		if err != nil || stdout != want {
			t.Errorf("got %q, error %v; want %q", stdout, err, want)
		}
	})
}

func TestForeignModule(t *testing.T) {
	old, recent := openLab(t, "6.1"), openLab(t, "6.12")
	_, _, _, err := recent.boot(t, vm.Options{Modules: []vm.Module{{Path: old.hello}}}, "exit", "0")
	if !errors.Is(err, vm.ErrMismatch) {
		t.Errorf("got %v, want %v", err, vm.ErrMismatch)
	}
}
