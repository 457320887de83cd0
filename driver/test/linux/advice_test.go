// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hugePlace is memory of a huge page's size at a huge page's place.
func hugePlace(t *testing.T) []byte {
	t.Helper()
	const huge = 2 << 20
	whole := mmap(t, 2*huge, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	return whole[(huge-addressOf(whole)%huge)%huge:][:huge]
}

const (
	sysHuge = "/sys/kernel/mm/transparent_hugepage"
	sysKSM  = "/sys/kernel/mm/ksm"
)

// advice is what a program can tell the kernel about its memory, and what the
// kernel may answer. One that was built without the feature says EINVAL, but
// for the feature of swapping.
type advice struct {
	name    string
	advice  int
	feature string // what a kernel has that knows it
	errors  []unix.Errno
	without unix.Errno // EINVAL, if 0
}

var keepsContent = []advice{
	{name: "cold", advice: unix.MADV_COLD},
	{name: "pageout", advice: unix.MADV_PAGEOUT},
	{name: "mergeable", advice: unix.MADV_MERGEABLE, feature: sysKSM},
	{name: "hugepage", advice: unix.MADV_HUGEPAGE, feature: sysHuge},
	{name: "nohugepage", advice: unix.MADV_NOHUGEPAGE, feature: sysHuge},
	{name: "sequential", advice: unix.MADV_SEQUENTIAL},
	{name: "willneed", advice: unix.MADV_WILLNEED, feature: "/proc/swaps", without: unix.EBADF},
	{name: "dontfork", advice: unix.MADV_DONTFORK},
	{name: "populate", advice: unix.MADV_POPULATE_WRITE},
	// Small pages that are pinned stay where they are.
	{name: "collapse", advice: 25, feature: sysHuge, errors: []unix.Errno{unix.EAGAIN, unix.EBUSY, unix.EINVAL}},
}

func (a advice) take(t *testing.T, mem []byte) {
	t.Helper()
	err := unix.Madvise(mem, a.advice)
	want := append([]unix.Errno{0}, a.errors...)
	if a.feature != "" {
		if _, err := os.Stat(a.feature); err != nil {
			want = []unix.Errno{a.without}
			if a.without == 0 {
				want[0] = unix.EINVAL
			}
		}
	}
	errno, _ := err.(unix.Errno)
	t.Logf("madvise: %v", err)
	if !slices.Contains(want, errno) {
		t.Errorf("madvise: %v, want one of %v", err, want)
	}
}

// Advice that promises to keep the content changes nothing between the two
// sides, and neither does a change of the program's own rights.
func TestAdviceThatKeepsContent(t *testing.T) {
	dev := open(t, "probe")
	for _, a := range keepsContent {
		t.Run(a.name, func(t *testing.T) {
			mem := hugePlace(t)
			if a.name == "collapse" { // for which pages must be small, and may be large
				unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
			}
			copy(mem[5*4096:], "kept")
			wrapAndShare(t, dev, mem, 34)
			if a.name == "collapse" {
				unix.Madvise(mem, unix.MADV_HUGEPAGE)
			}
			a.take(t, mem)
			if err := unix.Mprotect(mem, unix.PROT_READ); err != nil {
				t.Fatal(err)
			}
			mustCommand(t, dev, probePoke, probeCommand{Cookie: 34, Offset: 5 * 4096, Value: 'K', Length: 1}, 0)
			if got := string(mem[5*4096:][:4]); got != "Kept" {
				t.Errorf("the program sees %q", got)
			}
			if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE); err != nil {
				t.Fatal(err)
			}
			mem[0] = 'p'
			if got := peek(t, dev, 34, 0); got != 'p' {
				t.Errorf("the kernel sees %d", got)
			}
		})
	}
}

// A kernel that merges equal pages leaves alone those that are shared, and merges
// others with the same content meanwhile.
func TestMergingLeavesSharesAlone(t *testing.T) {
	dev := open(t, "probe")
	_, err := os.Stat(sysKSM)
	if err != nil {
		notInUserMode(t, "merging of pages, as it is built here")
	}
	needs(t, err == nil, "kernel that merges pages (CONFIG_KSM)")
	content := bytes.Repeat([]byte("the same in all pages; "), 4096/23+1)[:4096]
	var mem [3][]byte
	for i := range mem {
		mem[i] = mmap(t, 8*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		for at := 0; at < len(mem[i]); at += 4096 {
			copy(mem[i][at:], content)
			mem[i][at] = byte(at >> 12) // 8 pages of 3 copies
		}
	}
	wrapAndShare(t, dev, mem[0], 36)
	for _, m := range mem {
		if err := unix.Madvise(m, unix.MADV_MERGEABLE); err != nil {
			t.Fatal(err)
		}
	}
	scan(t)
	if n := merging(t); n != 8 {
		t.Errorf("%d pages are merged into 8 others, want 8: those of one copy, and none that is shared", n)
	}
	for at := 0; at < len(mem[0]); at += 4096 {
		mustCommand(t, dev, probePoke, probeCommand{Cookie: 36, Offset: uint64(at), Value: 'k', Length: 1}, 0)
		if mem[0][at] != 'k' || mem[1][at] != byte(at>>12) || mem[2][at] != byte(at>>12) {
			t.Errorf("after the kernel's store the program sees %d, and %d, %d elsewhere", mem[0][at], mem[1][at], mem[2][at])
		}
		mem[0][at] = 'p'
		if got := peek(t, dev, 36, uint64(at)); got != 'p' {
			t.Errorf("the kernel sees %d", got)
		}
	}
}

// scan has the kernel look for pages to merge, as often as it takes to merge all
// that it ever will, since it leaves a page alone that has just changed.
func scan(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{"sleep_millisecs": "0", "pages_to_scan": "10000", "run": "1"} {
		before, err := os.ReadFile(sysKSM + "/" + name)
		if err == nil {
			err = os.WriteFile(sysKSM+"/"+name, []byte(value), 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.WriteFile(sysKSM+"/"+name, before, 0) })
	}
	first := ksmNumber(t, "full_scans")
	for deadline := time.Now().Add(time.Minute); ksmNumber(t, "full_scans") < first+6; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the kernel has not looked at all pages often enough")
		}
	}
}

func ksmNumber(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile(sysKSM + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", name, err))
	}
	return n
}

// merging is how many pages of the machine are others', too.
func merging(t *testing.T) int { return ksmNumber(t, "pages_sharing") }
