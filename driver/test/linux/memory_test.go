// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/internal/abi"
)

// sharedMemfd shares a mapping of a memfd of two pages, filled with 'b'.
func sharedMemfd(t *testing.T, dev *kshm.Device, cookie uint64) (fd int, mem []byte) {
	t.Helper()
	fd, err := unix.MemfdCreate("kshm-test", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, 8192); err != nil {
		t.Fatal(err)
	}
	mem, err = unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	for i := range mem {
		mem[i] = 'b'
	}
	wrapAndShare(t, dev, mem, cookie)
	return fd, mem
}

func wrapAndShare(t *testing.T, dev *kshm.Device, mem []byte, cookie uint64) *kshm.Share {
	t.Helper()
	buf, err := kshm.Wrap(mem)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(buf, &kshm.ShareOptions{Cookie: cookie})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func peek(t testing.TB, dev *kshm.Device, cookie, offset uint64) byte {
	t.Helper()
	return mustCommand(t, dev, probePeek, probeCommand{Cookie: cookie, Offset: offset, Length: 1}, 1)[0]
}

// The program may tear its own view away from the pages. The kernel stays on
// the pages that were shared; the program sees others, or none.
func TestProgramLosesItsPages(t *testing.T) {
	dev := open(t, "probe")
	t.Run("madvise", func(t *testing.T) {
		mem := mmap(t, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		mem[0] = 'b'
		wrapAndShare(t, dev, mem, 21)
		if err := unix.Madvise(mem, unix.MADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if mem[0] != 0 || peek(t, dev, 21, 0) != 'b' {
			t.Errorf("the program sees %d, the kernel %d", mem[0], peek(t, dev, 21, 0))
		}
	})
	t.Run("truncate", func(t *testing.T) {
		fd, _ := sharedMemfd(t, dev, 22)
		if err := unix.Ftruncate(fd, 0); err != nil {
			t.Fatal(err)
		}
		if got := peek(t, dev, 22, 8191); got != 'b' {
			t.Errorf("the kernel sees %d", got)
		}
	})
	t.Run("punch", func(t *testing.T) {
		fd, mem := sharedMemfd(t, dev, 23)
		if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096); err != nil {
			t.Fatal(err)
		}
		if mem[0] != 0 || peek(t, dev, 23, 0) != 'b' || peek(t, dev, 23, 4096) != 'b' {
			t.Errorf("the program sees %d, the kernel %d", mem[0], peek(t, dev, 23, 0))
		}
	})
	t.Run("mremap", func(t *testing.T) {
		mem := mmap(t, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		room := mmap(t, 8192, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		wrapAndShare(t, dev, mem, 24)
		if _, _, errno := unix.Syscall6(unix.SYS_MREMAP, uintptr(addressOf(mem)), 8192, 8192, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, uintptr(addressOf(room)), 0); errno != 0 {
			t.Fatal(errno)
		}
		room[1] = 'm' // the same pages at another address
		if peek(t, dev, 24, 1) != 'm' {
			t.Errorf("the kernel sees %d", peek(t, dev, 24, 1))
		}
	})
}

// A fork copies pinned private pages to the child at once, so that the parent
// keeps those that the kernel has.
func TestForkKeepsTheParentsPages(t *testing.T) {
	dev := open(t, "probe")
	mem := mmap(t, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	mem[0] = 'b'
	wrapAndShare(t, dev, mem, 25)
	pid := forkAndExit(t)
	mem[0] = 'p'
	if got := peek(t, dev, 25, 0); got != 'p' {
		t.Errorf("the kernel sees %d", got)
	}
	mustCommand(t, dev, probePoke, probeCommand{Cookie: 25, Value: 'k', Length: 1}, 0)
	if mem[0] != 'k' {
		t.Errorf("the program sees %d", mem[0])
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
}

// Memory that was never touched is there once it is shared, and a range inside
// a huge page is as good as any: one of hugetlbfs, and one that is transparent.
func TestHugePages(t *testing.T) {
	dev := open(t, "probe")
	t.Run("hugetlb", func(t *testing.T) {
		notInUserMode(t, "huge pages")
		buf, err := dev.Alloc(3<<20, &kshm.AllocOptions{HugePages: true})
		if err != nil {
			t.Fatal(err)
		}
		twoShares(t, dev, buf.Bytes())
		if err := buf.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("transparent", func(t *testing.T) {
		notInUserMode(t, "transparent huge pages")
		notInRealTime(t, "transparent huge pages")
		_, err := os.Stat(sysHuge)
		needs(t, err == nil, "transparent huge pages")
		mem := hugePlace(t)
		if err := unix.Madvise(mem, unix.MADV_HUGEPAGE); err != nil {
			t.Fatal(err)
		}
		mem[0] = 't'
		needs(t, hugeKB(t, mem) == len(mem)>>10, "huge page to spare")
		twoShares(t, dev, mem)
	})
}

// twoShares shares all of a huge page and a range inside it, and then that range
// alone, from which the program takes the rest of the page away.
func twoShares(t *testing.T, dev *kshm.Device, mem []byte) {
	t.Helper()
	before := pinsHeld(t)
	const first, pages = 5, 300
	whole := wrapAndShare(t, dev, mem, 26)
	part := wrapAndShare(t, dev, mem[first*4096:(first+pages)*4096], 27)
	if held := pinsHeld(t) - before; held != len(mem)/4096+pages {
		t.Errorf("%d pages pinned by shares of %d and %d", held, len(mem)/4096, pages)
	}
	for _, at := range []int{0, 7, pages*4096 - 1} {
		mem[first*4096+at] = byte('h' + at%5)
		for cookie, offset := range map[uint64]int{26: first*4096 + at, 27: at} {
			if got := peek(t, dev, cookie, uint64(offset)); got != byte('h'+at%5) {
				t.Errorf("share %d, offset %d: the kernel sees %d", cookie, offset, got)
			}
		}
	}
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
	unix.Mprotect(mem[:first*4096], unix.PROT_NONE) // splits a transparent one's mapping
	mustCommand(t, dev, probePoke, probeCommand{Cookie: 27, Value: 'k', Length: pages * 4096}, 0)
	inside := mem[first*4096:]
	if inside[0] != 'k' || inside[pages*4096-1] != 'k' || inside[pages*4096] == 'k' {
		t.Errorf("the program sees %d, %d, and %d behind", inside[0], inside[pages*4096-1], inside[pages*4096])
	}
	if err := part.Close(); err != nil {
		t.Fatal(err)
	}
	unix.Mprotect(mem[:first*4096], unix.PROT_READ|unix.PROT_WRITE)
}

// hugeKB is how much of the mapping of mem lies in transparent huge pages.
func hugeKB(t *testing.T, mem []byte) (kb int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(text)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= addressOf(mem) && addressOf(mem) < to
		} else if value, ok := strings.CutPrefix(line, "AnonHugePages:"); ok && inside {
			fmt.Sscan(value, &kb)
		}
	}
	return kb
}

// Private memory that the program may only read, and has never touched: it reads
// as zeros. Kernel 6.1 would pin the zero page, which is not the program's, so
// that is refused; later ones give it a page of its own, and both sides see
// what the program writes there later.
func TestUntouchedReadOnlyMemory(t *testing.T) {
	dev := open(t, "probe")
	mem := mmap(t, 2*4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	buf, err := kshm.Wrap(mem)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(buf, &kshm.ShareOptions{ReadOnly: true, Cookie: 28})
	if kernelIs(t, "6.1.") {
		if !errors.Is(err, kshm.ErrMemory) || !errors.Is(err, unix.EMEDIUMTYPE) {
			t.Errorf("got %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := peek(t, dev, 28, 4096); got != 0 || mem[4096] != 0 {
		t.Errorf("the kernel sees %d, the program %d", got, mem[4096])
	}
	if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	mem[0], mem[4096] = 'w', 'x'
	if a, b := peek(t, dev, 28, 0), peek(t, dev, 28, 4096); a != 'w' || b != 'x' {
		t.Errorf("the kernel sees %d and %d", a, b)
	}
}

// playStuck shares memory whose pages never come, since a userfaultfd is there
// that nobody serves, through the descriptor that it was given.
func playStuck() {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		os.Exit(70)
	}
	api := [3]uint64{0xaa} // struct uffdio_api
	mem, err := unix.Mmap(-1, 0, 16*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		os.Exit(71)
	}
	register := [4]uint64{addressOf(mem), uint64(len(mem)), 1} // missing pages
	if _, err := rawIoctl(int(fd), 0xc018aa3f, unsafe.Pointer(&api)); err != nil {
		os.Exit(72)
	}
	if _, err := rawIoctl(int(fd), 0xc020aa00, unsafe.Pointer(&register)); err != nil {
		os.Exit(73)
	}
	const device = 3
	_, err = rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: uint64(len(mem)), Access: abi.AccessRead | abi.AccessWrite})
	fmt.Println(err)
}

// startStuck starts a process that shares through device and may never come
// back; if it does, what it got is said.
func startStuck(t *testing.T, device int) (child *exec.Cmd, said <-chan string) {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(device), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(dup), "device")
	defer file.Close()
	child = exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), "KSHM_TEST_CHILD=stuck")
	child.ExtraFiles = []*os.File{file}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- strings.TrimSpace(text)
	}()
	return child, line
}

// inShare reports whether a thread of a process is inside SHARE.
func inShare(pid int) bool {
	call := fmt.Sprintf("%d 0x3 %#x ", unix.SYS_IOCTL, abi.IoctlShare)
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	return slices.ContainsFunc(files, func(name string) bool {
		text, _ := os.ReadFile(name)
		return strings.HasPrefix(string(text), call)
	})
}

// A SHARE that waits for its pages for ever delays nobody, not even through the
// same open device, and dies with its process.
func TestStuckShare(t *testing.T) {
	atRest(t)
	before := pinsHeld(t)
	device := rawOpen(t, "probe")
	child, said := startStuck(t, device)
	if kernelIs(t, "6.1.") { // which does not wait for userfaults when it pins
		if answer := <-said; answer != unix.EFAULT.Error() {
			t.Errorf("SHARE answered %q", answer)
		}
		child.Wait()
		return
	}
	for !inShare(child.Process.Pid) {
		select {
		case answer := <-said:
			t.Fatalf("SHARE answered %q, %v", answer, child.Wait())
		case <-time.After(10 * time.Millisecond):
		}
	}
	dev := open(t, "probe")
	mem := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	for range 100 {
		s, _ := share(t, dev, 4096, nil)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fd, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead})
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	if !inShare(child.Process.Pid) {
		t.Error("the SHARE was not stuck all the time")
	}
	child.Process.Kill()
	child.Wait()
	if s := child.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != unix.SIGKILL {
		t.Errorf("the process ended by itself: %v", child.ProcessState)
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages pinned", held)
	}
}
