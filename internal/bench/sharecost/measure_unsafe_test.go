// SPDX-License-Identifier: MIT

//go:build kernel

package sharecost

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

var report = flag.String("report", "", "measure all sizes and write the report to this `file`")

var span = flag.Duration("span", 2*time.Second, "how long to measure each size for a report, at least 11 rounds")

const (
	kib = 1 << 10
	mib = 1 << 20
)

// sizes are what is measured for a report, and what a test makes do with.
var sizes = map[string][]int{
	Small:   {4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib, 16 * mib, 64 * mib, 256 * mib, 1024 * mib},
	HugeTLB: {2 * mib, 16 * mib, 64 * mib, 256 * mib, 1024 * mib},
	THP:     {2 * mib, 16 * mib, 64 * mib, 256 * mib, 1024 * mib},
}

var fewSizes = map[string][]int{Small: {4 * kib, mib, 16 * mib}, HugeTLB: {2 * mib, 16 * mib}, THP: {16 * mib}}

// TestCost measures. Its own bounds are far from any target, since this runs on
// machines that do other things, too: they tell a share that has become many
// times dearer.
func TestCost(t *testing.T) {
	l := newLab(t)
	r := Report{Kernel: l.release(), CPU: l.cpu(), FasterHalf: true, Started: time.Now().UTC().Truncate(time.Second)}
	budget, all := 300*time.Millisecond, fewSizes
	if *report != "" {
		budget, all = *span, sizes
	}
	for _, pages := range []string{Small, HugeTLB, THP} {
		for _, size := range all[pages] {
			row := NewRow(pages, size, l.rounds(pages, size, budget))
			t.Logf("%-16s %8d KiB: share %9.1f µs, io_uring %9.1f µs; pin and unpin 1 to %.2f, total 1 to %.2f (%d rounds)",
				pages, size/kib, row.Median.Total()/1e3, row.Median.Uring()/1e3, row.PinUnpinRatio, row.TotalRatio, row.Rounds)
			if pages == Small && size >= mib && row.PinUnpinRatio > 4 {
				t.Errorf("pinning and unpinning %d KiB takes %.2f times as long as io_uring", size/kib, row.PinUnpinRatio)
			}
			r.Rows = append(r.Rows, row)
		}
	}
	if *report == "" {
		return
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(*report, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lab is what everybody works with.
type lab struct {
	testing.TB
	device uintptr // of the driver "probe"
	ring   uintptr // an io_uring
}

func newLab(t testing.TB) *lab {
	t.Helper()
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	device, err := unix.Open("/dev/kshm/probe", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(device) })
	l := &lab{TB: t, device: uintptr(device)}
	var params [120]byte // struct io_uring_params
	l.ring = l.call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0, 0)
	t.Cleanup(func() { unix.Close(int(l.ring)) })
	return l
}

// call goes to the kernel without telling Go's scheduler, whose threads would
// otherwise be part of what is measured.
func (l *lab) call(number, a, b, c, d uintptr) uintptr {
	l.Helper()
	r, _, errno := unix.RawSyscall6(number, a, b, c, d, 0, 0)
	if errno != 0 {
		l.Fatal(os.NewSyscallError("system call", errno))
	}
	return r
}

// timed is call with the time it took, in ns.
func (l *lab) timed(took *float64, number, a, b, c, d uintptr) uintptr {
	l.Helper()
	begin := time.Now()
	r := l.call(number, a, b, c, d)
	*took = float64(time.Since(begin))
	return r
}

// memory is a buffer whose pages are there and are of one kind. The next one
// may need the room.
func (l *lab) memory(pages string, size int) (mem []byte, free func() error) {
	l.Helper()
	flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	advice, extra := unix.MADV_NOHUGEPAGE, 0
	switch pages {
	case HugeTLB:
		flags |= unix.MAP_HUGETLB
	case THP:
		advice, extra = unix.MADV_HUGEPAGE, 2*mib
	}
	all, err := unix.Mmap(-1, 0, size+extra, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		l.Fatalf("%d MiB of %s pages: %v", size/mib, pages, err)
	}
	mem = all
	if extra != 0 {
		skip := -int(uintptr(unsafe.Pointer(&all[0]))) & (extra - 1)
		mem = all[skip : skip+size]
	}
	if pages != HugeTLB {
		if err := unix.Madvise(mem, advice); err != nil {
			l.Fatal(err)
		}
	}
	for i := 0; i < size; i += 4 * kib {
		mem[i] = 1
	}
	return mem, func() error { return unix.Munmap(all) }
}

// rounds measures for as long as the budget allows, not less than a few rounds.
func (l *lab) rounds(pages string, size int, budget time.Duration) (rounds []Round) {
	l.Helper()
	mem, free := l.memory(pages, size)
	defer free()
	turns := []func([]byte, *Round){l.share, l.register, l.bare}
	var warm Round
	for _, turn := range turns {
		turn(mem, &warm)
	}
	for begin := time.Now(); len(rounds) < 1000 && (len(rounds) < 11 || time.Since(begin) < budget); {
		var r Round
		for i := range turns {
			turns[(i+len(rounds))%len(turns)](mem, &r)
		}
		rounds = append(rounds, r)
	}
	return rounds
}

func (l *lab) share(mem []byte, r *Round) {
	l.Helper()
	args := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: uint64(address(mem)), Length: uint64(len(mem)), Access: abi.AccessRead | abi.AccessWrite}
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	stats := abi.Stats{Size: abi.SizeofStats}
	s := l.timed(&r.Share, unix.SYS_IOCTL, l.device, abi.IoctlShare, uintptr(unsafe.Pointer(&args)), 0)
	l.call(unix.SYS_IOCTL, s, abi.IoctlStats, uintptr(unsafe.Pointer(&stats)), 0)
	l.timed(&r.Done, unix.SYS_IOCTL, s, abi.IoctlDone, uintptr(unsafe.Pointer(&cmd)), 0)
	l.timed(&r.Close, unix.SYS_CLOSE, s, 0, 0, 0)
	r.Pin, r.Map = float64(stats.Pin_ns), float64(stats.Map_ns)
}

func (l *lab) register(mem []byte, r *Round) {
	l.Helper()
	const registerBuffers, unregisterBuffers = 0, 1
	vec := unix.Iovec{Base: &mem[0], Len: uint64(len(mem))}
	l.timed(&r.Register, unix.SYS_IO_URING_REGISTER, l.ring, registerBuffers, uintptr(unsafe.Pointer(&vec)), 1)
	l.timed(&r.Unregister, unix.SYS_IO_URING_REGISTER, l.ring, unregisterBuffers, 0, 0)
}

func (l *lab) bare(mem []byte, r *Round) {
	l.Helper()
	const code = 8 // PROBE_BARE of driver/test/linux/probe/probe.h
	command := struct {
		Cookie, Offset, Value uint64
		Length, Context       uint32
	}{Offset: uint64(address(mem)), Value: 1, Length: uint32(len(mem))}
	in, err := binary.Append(nil, binary.NativeEndian, command)
	if err != nil {
		l.Fatal(err)
	}
	var out [4]uint64
	control := abi.Control{Size: abi.SizeofControl, Code: code, In: uint64(address(in)), In_length: uint32(len(in)),
		Out: uint64(uintptr(unsafe.Pointer(&out))), Out_length: uint32(unsafe.Sizeof(out))}
	l.call(unix.SYS_IOCTL, l.device, abi.IoctlControl, uintptr(unsafe.Pointer(&control)), 0)
	runtime.KeepAlive(in)
	r.BarePin, r.BareMap, r.BareUnmap, r.BareUnpin = float64(out[0]), float64(out[1]), float64(out[2]), float64(out[3])
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func (l *lab) release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		l.Fatal(err)
	}
	return unix.ByteSliceToString(name.Release[:])
}

func (l *lab) cpu() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		l.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
