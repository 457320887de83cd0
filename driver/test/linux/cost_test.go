// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/internal/abi"
)

// 100,000 shares one after the other leave the kernel as large as it was.
func TestShareDoesNotGrow(t *testing.T) {
	device := rawOpen(t, "probe")
	mem := mmap(t, 16<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	shareMany(t, device, mem, 1000) // caches warm
	pins, areas, slab := pinsHeld(t), vmapAreas(t), slabKB(t)
	rounds := 100_000
	if hasKmemleak() {
		rounds = 10_000 // slow, and it need not add up to be seen
	}
	took := shareMany(t, device, mem, rounds)
	t.Logf("%d rounds of SHARE, DONE and close: %.1f µs each", rounds, float64(took.Microseconds())/float64(rounds))
	if n := pinsHeld(t) - pins; n != 0 {
		t.Errorf("%d pages more are pinned", n)
	}
	if n := vmapAreas(t) - areas; n > 0 {
		t.Errorf("%d mappings more", n)
	}
	// One leaked object of the smallest size per round would be 800 KB.
	if n := slabKB(t) - slab; n > 700 && !hasKmemleak() {
		t.Errorf("the slab grew by %d KB", n)
	}
}

// hasKmemleak reports whether the kernel looks for leaked objects itself, which
// it does when the tests are over. Those kernels have KASAN, too, which keeps
// freed objects for a while.
func hasKmemleak() bool {
	_, err := os.Stat("/sys/kernel/debug/kmemleak")
	return err == nil
}

// A share costs little more than what it cannot do without: pinning, mapping
// and their undoing, three system calls, and a descriptor. All are timed in
// turns, in short trials, and the fastest of each counts, since whatever else
// the machine does only ever adds.
func TestCostOfShare(t *testing.T) {
	dev := open(t, "probe")
	device := rawOpen(t, "probe")
	mem := mmap(t, 16<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	const trials, rounds = 400, 10
	whole, bare, frame := time.Hour, time.Hour, time.Hour
	for range trials {
		whole = min(whole, shareMany(t, device, mem, rounds)/rounds)
		bare = min(bare, bareRounds(t, dev, mem, rounds)/rounds)
		frame = min(frame, emptyDescriptors(t, device, rounds)/rounds)
	}
	t.Logf("SHARE, DONE and close of 16 KiB: %v; pin, vmap, vunmap and unpin alone: %v (1 to %.1f); the system calls and a descriptor alone: %v; share without those: 1 to %.1f",
		whole, bare, float64(whole)/float64(bare), frame, float64(whole-frame)/float64(bare))
	if whole > 3*(bare+frame) {
		t.Errorf("a share costs more than 3 times the bare work")
	}
}

// bareRounds pins, maps, unmaps and unpins with nothing around it.
func bareRounds(t testing.TB, dev *kshm.Device, mem []byte, rounds uint64) (all time.Duration) {
	t.Helper()
	var phases [4]time.Duration
	out := mustCommand(t, dev, probeBare, probeCommand{Offset: addressOf(mem), Length: uint32(len(mem)), Value: rounds}, binary.Size(phases))
	if _, err := binary.Decode(out, binary.NativeEndian, &phases); err != nil {
		t.Fatal(err)
	}
	for _, d := range phases {
		all += d
	}
	return all
}

// emptyDescriptors makes the system calls of a share with nothing behind them.
func emptyDescriptors(t testing.TB, device, rounds int) time.Duration {
	t.Helper()
	begin := time.Now()
	for range rounds {
		fd, _, errno := unix.RawSyscall(unix.SYS_EVENTFD2, 0, 0, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		unix.RawSyscall(unix.SYS_IOCTL, uintptr(device), 0, 0) // ENOTTY
		unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	}
	return time.Since(begin)
}

// shareMany goes to the kernel without telling Go's scheduler, whose threads
// would otherwise be part of what is measured.
func shareMany(t testing.TB, device int, mem []byte, rounds int) time.Duration {
	t.Helper()
	args := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: uint64(len(mem)), Access: abi.AccessRead | abi.AccessWrite}
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	begin := time.Now()
	for range rounds {
		s, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(device), abi.IoctlShare, uintptr(unsafe.Pointer(&args)))
		if errno != 0 {
			t.Fatal(errno)
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, s, abi.IoctlDone, uintptr(unsafe.Pointer(&cmd))); errno != 0 {
			t.Fatal(errno)
		}
		unix.RawSyscall(unix.SYS_CLOSE, s, 0, 0)
	}
	return time.Since(begin)
}

// vmapAreas counts what is mapped by vmap, by whomever, and what else the kit has
// allocated there, as it does for the list of a large share's pages.
func vmapAreas(t testing.TB) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/vmallocinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, " vmap") || strings.Contains(line, " [kshm]") {
			n++
		}
	}
	return n
}

func slabKB(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "SUnreclaim:"); ok {
			kb, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Fatal("no SUnreclaim in /proc/meminfo")
	return 0
}
