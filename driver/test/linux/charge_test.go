// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// hoard is what a child makes many of: descriptors, of one kind.
type hoard struct {
	name  string
	what  string // eventfd, null, open, share or rings
	size  int    // bytes of a share
	count int
}

// of makes one of them.
func (h hoard) of(device int, mem []byte) (int, error) {
	args := abi.ShareArgs{Size: abi.SizeofShareArgs, Length: uint64(h.size), Access: abi.AccessRead | abi.AccessWrite}
	if h.size > 0 {
		args.Address = addressOf(mem)
	}
	switch h.what {
	case "eventfd":
		return unix.Eventfd(0, unix.EFD_CLOEXEC)
	case "open":
		return unix.Open("/dev/kshm/loop", unix.O_RDWR|unix.O_CLOEXEC, 0)
	case "null":
		return unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	case "rings":
		args.Rings[0] = abi.RingGroup{Capacity: 4096, Count: hoardRings}
	}
	return rawShare(device, args)
}

const hoardRings = 32

// playHoarder does what its standard input says: + makes a hoard, - lets it go.
// It begins and ends with one of the things, for what the first one brings.
func playHoarder(what string) {
	var h hoard
	_, err := fmt.Sscan(what, &h.what, &h.size, &h.count)
	device, derr := unix.Open("/dev/kshm/loop", unix.O_RDWR|unix.O_CLOEXEC, 0)
	mem, merr := unix.Mmap(-1, 0, max(h.size, 4096), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	check := func(err error) {
		if err != nil {
			fmt.Println("child:", err)
			os.Exit(70)
		}
	}
	for _, err := range []error{err, derr, merr, unix.Madvise(mem, unix.MADV_DONTFORK)} {
		check(err)
	}
	fds := make([]int, h.count)
	fill := func(some []int) {
		for i := range some {
			some[i], err = h.of(device, mem)
			check(err)
		}
	}
	empty := func(some []int) {
		for _, fd := range some {
			unix.Close(fd)
		}
	}
	fill(fds) // the table of descriptors stays as large as this takes
	empty(fds)
	fill(fds[:1])
	for order := make([]byte, 1); ; {
		fmt.Println("ready")
		if _, err := os.Stdin.Read(order); err != nil {
			return
		}
		if order[0] == '+' {
			fill(fds[1:])
		} else {
			empty(fds[1:])
		}
	}
}

// hoarder is a child in a cgroup of its own.
type hoarder struct {
	hoard
	beside string // what is no matter of the kit's: the name of another hoard
	least  int    // bytes that each must be charged with beside it
	group  string
	child  *exec.Cmd
	in     io.WriteCloser
	lines  *bufio.Reader
	bytes  [3]int // charged before, with and after the hoard
}

func (h *hoarder) start(t *testing.T, parent string) {
	t.Helper()
	h.group = filepath.Join(parent, strings.ReplaceAll(h.name, " ", "-"))
	if err := os.Mkdir(h.group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // while the child is there, it cannot be removed
		if h.child != nil {
			h.in.Close()
			h.child.Wait()
		}
		if err := os.Remove(h.group); err != nil {
			t.Error(err)
		}
	})
	dir, err := os.Open(h.group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	child := exec.Command("/proc/self/exe")
	// Without the collector, whose threads would be charged, too.
	child.Env = append(os.Environ(), "GOGC=off", "KSHM_TEST_CHILD=hoarder", fmt.Sprintf("KSHM_TEST_HOARD=%s %d %d", h.what, h.size, h.count+1))
	child.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	out, err := child.StdoutPipe()
	if err == nil {
		h.in, err = child.StdinPipe()
	}
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	h.child, h.lines = child, bufio.NewReader(out)
	h.tell(t, "")
}

func (h *hoarder) tell(t *testing.T, order string) {
	t.Helper()
	io.WriteString(h.in, order)
	if line, err := h.lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s: child said %q, %v", h.name, line, err)
	}
}

// each is how many bytes one costs.
func (h *hoarder) each() int { return (h.bytes[1] - h.bytes[0]) / h.count }

// left is how many bytes stay charged after the ends of all. What a processor
// keeps for the next one is no leak.
func (h *hoarder) left() int { return max(0, h.bytes[2]-h.bytes[0]-16<<10) }

// settle reads what every group is charged with for memory of the kernel's, until
// good, but not for ever: the kernel adds up those of all processors every 2
// seconds, and some of it comes back only after a while.
func settle(t *testing.T, all []*hoarder, which int, good func(h *hoarder, before int) bool) {
	t.Helper()
	for range 20 {
		time.Sleep(2500 * time.Millisecond)
		over := true
		for _, h := range all {
			before := h.bytes[which]
			h.bytes[which] = groupNumber(t, h.group, "memory.stat", "slab") + groupNumber(t, h.group, "memory.stat", "vmalloc")
			over = over && good(h, before)
		}
		if over {
			return
		}
	}
}

// What the kit allocates for a program is charged to the program's cgroup: a
// share, the list of its pages, its rings, and an open device; beside what the
// kernel charges for a descriptor of any kind. The ends of shares give it back.
func TestKitIsCharged(t *testing.T) {
	atRest(t)
	parent := memoryGroup(t, 512<<20)
	if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
		t.Fatal(err)
	}
	all := []*hoarder{
		{hoard: hoard{"descriptor", "eventfd", 0, 400}, least: 100},
		{hoard: hoard{"share", "share", 4096, 400}, beside: "descriptor", least: 512},
		{hoard: hoard{"share of 1024 pages", "share", 4 << 20, 60}, beside: "share", least: 1000 * 8},
		{hoard: hoard{"share with rings", "rings", hoardRings * 3 * 4096, 400}, beside: "share", least: hoardRings * 128},
		{hoard: hoard{"open of another device", "null", 0, 400}, least: 100},
		{hoard: hoard{"open device", "open", 0, 400}, beside: "open of another device", least: 40},
	}
	named := map[string]*hoarder{"": {hoard: hoard{count: 1}}}
	for _, h := range all {
		h.start(t, parent)
		named[h.name] = h
	}
	own := func(h *hoarder) int { return h.each() - named[h.beside].each() }
	settle(t, all, 0, func(h *hoarder, before int) bool { return h.bytes[0] == before })
	for _, h := range all {
		h.tell(t, "+")
	}
	settle(t, all, 1, func(h *hoarder, _ int) bool { return own(h) >= h.least })
	for _, h := range all {
		h.tell(t, "-")
	}
	settle(t, all, 2, func(h *hoarder, _ int) bool { return h.left() == 0 })
	for _, h := range all {
		t.Logf("%-24s %5d bytes each, %5d its own; %v", h.name, h.each(), own(h), h.bytes)
		if own(h) < h.least {
			t.Errorf("%s: %d bytes of its own are charged for each, want %d at least", h.name, own(h), h.least)
		}
		if h.left() > 0 {
			t.Errorf("%s: %d bytes stay charged after the ends of %d", h.name, h.bytes[2]-h.bytes[0], h.count)
		}
	}
}
