// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

var faultsWanted = flag.Bool("faults", false, "fail where the kernel cannot inject faults, instead of skipping")

const nobody = 65534

// TestFaults lets every call fail at each point of its way where the kernel can
// be told to fail: allocations of memory and of pages, and copies from and to
// the program. Each time the call answers with a documented error, and the same
// call works when it is made again, or it succeeds all the same; it works with
// other objects, and nothing is left behind.
//
// It runs as a user without capabilities, on a thread of its own, to whose calls
// alone the faults happen, so that locked memory is charged and its limit shows
// what was not given back.
func TestFaults(t *testing.T) {
	if _, err := os.Stat("/proc/self/fail-nth"); err != nil {
		if *faultsWanted {
			t.Fatalf("this kernel cannot inject faults: %v", err)
		}
		t.Skip("this kernel cannot inject faults; make test-faults has one that can and asks for it with -faults")
	}
	letFaultsHappen(t)
	openToAll(t, "probe", "digest", "loop")
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	f := &faults{T: t, limit: setMemlock(t, 16<<20), pins: pinsHeld(t), areas: vmapAreas(t), files: openFiles(t), modules: references(t)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.becomeNobody() // the thread ends with this goroutine
		for _, c := range faultCalls {
			f.run(c)
		}
		f.lockAll()
	}()
	<-done
	f.atRest("all calls")
	if n := references(t); n != f.modules {
		f.leak("module references: %s, before it was %s", n, f.modules)
	}
	t.Logf("testfull: operations=%d points=%d leaks=%d", f.calls, f.points, f.leaks)
}

// faults is the state of the thread that meets them.
type faults struct {
	*testing.T
	nth           int // descriptor of this thread's fail-nth
	limit         int
	pins, areas   int
	files         int
	modules       string
	calls, points int
	leaks         int
}

// leak fails the test for what was left behind.
func (f *faults) leak(format string, args ...any) {
	f.leaks++
	f.Errorf(format, args...)
}

// letFaultsHappen makes every kind of fault possible wherever fail-nth counts
// one, in allocations that may wait, too, and keeps the kernel from describing
// each.
func letFaultsHappen(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"failslab/ignore-gfp-wait": "N", "failslab/verbose": "0",
		"fail_page_alloc/ignore-gfp-wait": "N", "fail_page_alloc/ignore-gfp-highmem": "N",
		"fail_page_alloc/min-order": "0", "fail_page_alloc/verbose": "0",
		"fail_usercopy/verbose": "0",
	} {
		if err := os.WriteFile(filepath.Join("/sys/kernel/debug", name), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
}

func openToAll(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		path := "/dev/kshm/" + name
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(path, 0o600) })
	}
}

func setMemlock(t *testing.T, bytes int) int {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &old); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_MEMLOCK, &old) })
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: uint64(bytes), Max: max(old.Max, uint64(bytes))}); err != nil {
		t.Fatal(err)
	}
	return bytes
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// references says how many hold each module.
func references(t *testing.T) (all string) {
	t.Helper()
	for _, name := range []string{"kshm", "probe", "digest", "kshm_loop"} {
		n, err := os.ReadFile("/sys/module/" + name + "/refcnt")
		if err != nil {
			t.Fatal(err)
		}
		all += fmt.Sprintf("%s %s", name, n)
	}
	return all
}

// becomeNobody gives the thread, and no other, an unprivileged user, and keeps
// signals from it: one that came in time would be a reason of its own to fail.
func (f *faults) becomeNobody() {
	runtime.LockOSThread()
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i]-- // all ones, on 386 too
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil); err != nil {
		f.Fatal(err)
	}
	var err error
	if f.nth, err = unix.Open("/proc/thread-self/fail-nth", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		f.Fatal(err)
	}
	f.files++
	f.setUsers(nobody, nobody, 0)
}

// asRoot calls check, which looks at what only root may see.
func (f *faults) asRoot(check func()) {
	f.setUsers(-1, 0, -1)
	check()
	f.setUsers(-1, nobody, -1)
}

func (f *faults) setUsers(real, effective, saved int) {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(real), uintptr(effective), uintptr(saved)); errno != 0 {
		f.Fatal(errno)
	}
}

// arm has the n-th point from here on fail; 0 for none.
func (f *faults) arm(n int) {
	text := fmt.Appendf(nil, "%d", n)
	for { // the very write that ends it may meet the fault
		if _, err := unix.Pwrite(f.nth, text, 0); err == nil {
			return
		} else if err != unix.EFAULT && err != unix.ENOMEM {
			f.Fatalf("fail-nth: %v", err)
		}
	}
}

// disarm reports whether the fault has happened.
func (f *faults) disarm() bool {
	var text [16]byte
	n, err := unix.Pread(f.nth, text[:], 0)
	f.arm(0)
	return err == nil && n > 0 && text[0] == '0'
}

// faultCall is one call to be tried. prepare brings about what it needs, with no
// faults.
type faultCall struct {
	name    string
	points  int // there are at least as many
	prepare func(f *faults) prepared
}

// prepared is a call that can be made at once, and what takes it back.
type prepared struct {
	call   func() (uintptr, unix.Errno)
	undo   func(result uintptr, errno unix.Errno)
	answer uintptr // of a call that works; 0 where it may be any
}

// documented are the errors of want of memory, and of memory that cannot be
// reached: what a fault means to the one who calls.
var documented = []unix.Errno{0, unix.ENOMEM, unix.EFAULT}

const maxPoints = 5000

// run makes the n-th point fail for each n, until the call has fewer.
func (f *faults) run(c faultCall) {
	points, errors := 0, map[unix.Errno]int{}
	for n := 1; ; n++ {
		p := c.prepare(f)
		f.arm(n)
		r, errno := p.call()
		hit := f.disarm()
		failed := errno
		if failed != 0 { // nothing was done: the same on the same object does it all
			r, errno = p.call()
			if errno != 0 || p.answer != 0 && r != p.answer {
				f.Errorf("%s: fault %d, and the same call again: %d, %v", c.name, n, r, errno)
			}
			f.calls++
		}
		p.undo(r, errno)
		errno = failed
		if !slices.Contains(documented, errno) {
			f.Errorf("%s: fault %d: %v", c.name, n, errno)
		}
		p = c.prepare(f)
		r, next := p.call()
		p.undo(r, next)
		if next != 0 {
			f.Errorf("%s: the call after fault %d: %v", c.name, n, next)
		}
		f.calls += 2
		f.asRoot(func() {
			if held := pinsHeld(f) - f.pins; held != 0 {
				f.leak("%s: fault %d: %d pages stay pinned", c.name, n, held)
				f.pins += held
			}
		})
		if !hit {
			break
		}
		points++
		errors[errno]++
		if n == maxPoints {
			f.Errorf("%s: still failing at point %d", c.name, n)
			break
		}
	}
	f.Logf("%-28s %4d points: %d ENOMEM, %d EFAULT, %d succeeded all the same", c.name, points, errors[unix.ENOMEM], errors[unix.EFAULT], errors[0])
	if points < c.points {
		f.Errorf("%s: %d points visited, there are %d at least", c.name, points, c.points)
	}
	f.points += points
	f.asRoot(func() { f.atRest(c.name) })
}

// atRest checks what is not checked after every call.
func (f *faults) atRest(name string) {
	if n := vmapAreas(f) - f.areas; n != 0 {
		f.leak("%s: %d mappings left", name, n)
	}
	if n := openFiles(f.T) - f.files; n != 0 {
		f.leak("%s: %d descriptors left", name, n)
	}
}

// lockAll uses the whole limit of locked memory, which shows that all of it has
// been given back.
func (f *faults) lockAll() {
	p := shareOf("probe", memory{size: f.limit})(f)
	r, errno := p.call()
	p.undo(r, errno)
	if errno != 0 {
		f.leak("share of all the memory that may be locked: %v", errno)
	}
	p = shareOf("probe", memory{size: f.limit + os.Getpagesize()})(f)
	r, errno = p.call()
	p.undo(r, errno)
	if errno != unix.EDQUOT {
		f.Errorf("share of more memory than may be locked: %v", errno)
	}
}
