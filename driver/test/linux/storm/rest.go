// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// memlock is RLIMIT_MEMLOCK of every process, in bytes.
const memlock = 4 << 20

// A tally is what a machine at rest holds.
type tally struct {
	pins   int64 // pages
	areas  int   // mappings of pinned pages
	refs   map[string]string
	files  int64
	huge   int64 // huge pages in use
	probe  probeState
	slabKB int64
}

// probeState is struct probe_counts.
type probeState struct {
	Shares, Stops, Kicks, Works, Late uint64
	_                                 uint64
}

// takeTally looks at the machine.
func takeTally() (t tally, err error) {
	if err = os.WriteFile("/proc/sys/vm/stat_refresh", []byte("1"), 0); err != nil {
		return t, err
	}
	stat := fields("/proc/vmstat")
	t.pins = stat["nr_foll_pin_acquired"] - stat["nr_foll_pin_released"]
	vmalloc := text("/proc/vmallocinfo") // with the list of a large share's pages, which is the kit's
	t.areas = strings.Count(vmalloc, " vmap") + strings.Count(vmalloc, " [kshm]")
	t.refs = make(map[string]string)
	for _, name := range []string{"kshm", "probe", "digest", "kshm_loop"} {
		t.refs[name] = strings.TrimSpace(text("/sys/module/" + name + "/refcnt"))
	}
	first, _, _ := strings.Cut(text("/proc/sys/fs/file-nr"), "\t")
	t.files, _ = strconv.ParseInt(first, 10, 64)
	memory := fields("/proc/meminfo")
	t.huge = memory["HugePages_Total:"] - memory["HugePages_Free:"]
	t.slabKB = memory["SUnreclaim:"]
	t.probe, err = askProbe()
	return t, err
}

func text(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// fields reads lines of a name and a number.
func fields(path string) map[string]int64 {
	m := make(map[string]int64)
	for line := range strings.Lines(text(path)) {
		if f := strings.Fields(line); len(f) >= 2 {
			m[f[0]], _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	return m
}

// probeControl sends the probe a command that needs no share.
func probeControl(code uint32, value uint64, answer []byte) error {
	fd, err := unix.Open("/dev/kshm/probe", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	in := probeCommand{Value: value}
	c := abi.Control{Size: abi.SizeofControl, Code: code, In: uint64(uintptr(unsafe.Pointer(&in))), In_length: uint32(unsafe.Sizeof(in)), Out_length: uint32(len(answer))}
	if len(answer) > 0 {
		c.Out = uint64(uintptr(unsafe.Pointer(&answer[0])))
	}
	_, errno := ioctl(int32(fd), abi.IoctlControl, unsafe.Pointer(&c))
	runtime.KeepAlive(&in)
	runtime.KeepAlive(answer)
	if errno != 0 {
		return fmt.Errorf("code %d of the probe: %w", code, errno)
	}
	return nil
}

func askProbe() (s probeState, err error) {
	answer := make([]byte, unsafe.Sizeof(s))
	if err = probeControl(probeCounts, 0, answer); err == nil {
		_, err = binary.Decode(answer, binary.NativeEndian, &s)
	}
	return s, err
}

// left says what a machine at rest holds that it did not hold before.
func (t tally) left(before tally) []string {
	var list []string
	more := func(what string, n int64) {
		if n != 0 {
			list = append(list, fmt.Sprintf("%s: %+d", what, n))
		}
	}
	more("pinned pages", t.pins-before.pins)
	more("kernel mappings", int64(t.areas-before.areas))
	more("huge pages in use", t.huge-before.huge)
	more("callbacks after stop()", int64(t.probe.Late-before.probe.Late))
	more("shares without their stop()", int64(t.probe.Shares-before.probe.Shares)-int64(t.probe.Stops-before.probe.Stops))
	more("open files", max(0, t.files-before.files-filesSlack))
	for name, refs := range before.refs {
		if t.refs[name] != refs {
			list = append(list, fmt.Sprintf("references to %s: %s, were %s", name, t.refs[name], refs))
		}
	}
	return list
}

// filesSlack is what the kernel counts per processor before it tells.
const filesSlack = 64

// settle waits until the machine is at rest, as far as it gets there.
func settle(before tally, patience time.Duration) ([]string, error) {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		now, err := takeTally()
		if err != nil {
			return nil, err
		}
		left := now.left(before)
		if len(left) == 0 || time.Now().After(end) {
			return left, nil
		}
	}
}

// limitsAreWhole shares as both users of the storm all that one of them may, and
// a page more. Meanwhile one share is all that a user may have, so that what an
// earlier one has not given back is missing.
func limitsAreWhole() error {
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: memlock, Max: memlock}); err != nil {
		return err
	}
	fd, err := unix.Open("/dev/kshm/probe", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	mem, err := unix.Mmap(-1, 0, memlock+pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer unix.Munmap(mem)
	defer clearCaps()
	// The module's cap comes first, and is all that there is for root.
	for _, u := range []struct {
		who   uintptr
		cap   int
		above syscall.Errno
	}{{0, memlock, unix.EUSERS}, {nobody, memlock + pageSize, unix.EDQUOT}} {
		if err := cmp.Or(setFile(parameters+"max_user_shares", "1"), setFile(parameters+"max_user_bytes", strconv.Itoa(u.cap))); err != 0 {
			return fmt.Errorf("caps of the kit: %w", err)
		}
		if err := limitIsWhole(int32(fd), mem, u.who, u.above); err != nil {
			return err
		}
	}
	return nil
}

// limitIsWhole has one thread become somebody, and share memlock bytes, and then
// one more.
func limitIsWhole(fd int32, mem []byte, who uintptr, above syscall.Errno) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	raw(unix.SYS_SETRESUID, who, who, ^uintptr(0))
	defer raw(unix.SYS_SETRESUID, 0, 0, ^uintptr(0))
	for extra, want := range []syscall.Errno{0, above} {
		a := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: uint64(uintptr(unsafe.Pointer(&mem[0]))), Length: uint64(memlock + extra), Access: abi.AccessRead}
		s, errno := ioctl(fd, abi.IoctlShare, unsafe.Pointer(&a))
		if errno == 0 {
			unix.Close(s)
		}
		if errno != want {
			return fmt.Errorf("a share of %d bytes by user %d, who may have %d and has nothing: %d (%v)", a.Length, who, memlock, int(errno), errno)
		}
	}
	return nil
}
