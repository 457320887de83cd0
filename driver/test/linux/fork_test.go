// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A fork copies the pinned pages of private memory, all of them, at once;
// MADV_DONTFORK spares that, and so does the end of the share.
func TestForkCost(t *testing.T) {
	dev := open(t, "probe")
	const size = 256 << 20
	mem := mmap(t, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	s := wrapAndShare(t, dev, mem, 35)
	copied := forkTime(t)
	if err := unix.Madvise(mem, unix.MADV_DONTFORK); err != nil {
		t.Fatal(err)
	}
	spared := forkTime(t)
	if err := unix.Madvise(mem, unix.MADV_DOFORK); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	after := forkTime(t)
	t.Logf("fork and exit of a child with %d MiB shared: %v; with MADV_DONTFORK: %v, 1 to %.0f; after the share: %v",
		size>>20, copied, spared, float64(copied)/float64(spared), after)
	if copied < 2*spared {
		t.Error("MADV_DONTFORK does not spare half of it")
	}
}

// forkTime is how long a child takes that ends at once, the faster of two.
func forkTime(t *testing.T) time.Duration {
	t.Helper()
	best := time.Hour
	for range 2 {
		begin := time.Now()
		pid := forkAndExit(t)
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(begin))
	}
	return best
}

// forkAndExit starts a child that has a copy of this address space and ends.
func forkAndExit(t *testing.T) int {
	t.Helper()
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	if pid == 0 {
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return int(pid)
}
