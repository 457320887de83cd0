// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// remains is what a share holds in the whole guest.
type remains struct {
	Pins        int // pages
	Mappings    int // of the kernel's
	Descriptors int // of devices and of shares, of all processes
	References  int // to the modules
}

var atRestKnown sync.Map // names of tests that are being watched

// atRest has a test fail that leaves something behind: pinned or charged pages,
// mappings, descriptors, references to a module. open and rawOpen call it.
func atRest(t testing.TB) {
	t.Helper()
	if _, known := atRestKnown.LoadOrStore(t.Name(), true); known {
		return
	}
	before := remainsNow(t)
	t.Cleanup(func() {
		atRestKnown.Delete(t.Name())
		// What dies or ends in a worker may still be on its way.
		now := remainsNow(t)
		for deadline := time.Now().Add(10 * time.Second); now.exceed(before) && time.Now().Before(deadline); now = remainsNow(t) {
			time.Sleep(20 * time.Millisecond)
		}
		if now.exceed(before) {
			t.Errorf("left behind: %+v, before it was %+v", now, before)
		}
		lockWholeLimit(t)
	})
}

func (r remains) exceed(before remains) bool {
	return r.Pins > before.Pins || r.Mappings > before.Mappings || r.Descriptors > before.Descriptors || r.References > before.References
}

func remainsNow(t testing.TB) remains {
	t.Helper()
	r := remains{Pins: pinsHeld(t), Mappings: vmapAreas(t)}
	for _, name := range []string{"kshm", "probe", "digest", "kshm_loop"} {
		r.References += referencesTo(t, name)
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		// One that is gone by now is none.
		if to, _ := os.Readlink(l); strings.HasPrefix(to, "/dev/kshm/") || to == "anon_inode:[kshm]" {
			r.Descriptors++
		}
	}
	return r
}

// referencesTo counts what holds a module; nothing does one that a test has unloaded.
func referencesTo(t testing.TB, module string) int {
	t.Helper()
	text, err := os.ReadFile("/sys/module/" + module + "/refcnt")
	if os.IsNotExist(err) {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// chargeForLocking takes the right to lock memory without limit from this
// process and its children, and removes the limit: so every share of every test
// is charged, to root mostly, and lockWholeLimit sees what is not given back.
func chargeForLocking() error {
	const ipcLock = unix.CAP_IPC_LOCK
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, ipcLock, 0); errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	for _, set := range []*uint32{&sets[0].Effective, &sets[0].Permitted, &sets[0].Inheritable} {
		*set &^= 1 << ipcLock
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets)), 0); errno != 0 {
		return os.NewSyscallError("capset", errno)
	}
	return setMemlockLimit(unix.RLIM_INFINITY)
}

func setMemlockLimit(bytes uint64) error {
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}))
}

// lockWholeLimit sets a limit and uses all of it, and no more: nothing that this
// user has shared is still charged.
func lockWholeLimit(t testing.TB) {
	t.Helper()
	const limit = 64 << 10
	device, err := unix.Open("/dev/kshm/probe", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(device)
	mem, err := unix.Mmap(-1, 0, limit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if err := setMemlockLimit(limit); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := setMemlockLimit(unix.RLIM_INFINITY); err != nil {
			t.Error(err)
		}
	}()
	args := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: limit, Access: abi.AccessRead}
	var s int
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if s, err = rawShare(device, args); err != unix.EDQUOT || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("not all of the limit of locked memory can be used again: %v", err)
		return
	}
	defer unix.Close(s)
	args.Length = 1
	if more, err := rawShare(device, args); err != unix.EDQUOT {
		unix.Close(more)
		t.Errorf("a page more than may be locked: %v", err)
	}
}
