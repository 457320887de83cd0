// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kshm"
)

func open(t testing.TB, name string) *kshm.Device {
	t.Helper()
	atRest(t)
	dev, err := kshm.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

func share(t testing.TB, dev *kshm.Device, size int, o *kshm.ShareOptions) (*kshm.Share, *kshm.Buffer) {
	t.Helper()
	buf, err := dev.Alloc(size, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(buf, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := buf.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, buf
}

// The codes of driver/test/linux/probe/probe.h.
const (
	probePeek = iota + 1
	probePoke
	probeNotify
	probeRevoke
	probeCorrupt
	probeHold
	probeCounts
	probeBare
	probeSlowStop
	probeBug
	probeStallEnd
	probeTryPoke
)

const (
	inTask = iota
	inHardirq
	inSoftirq
)

const (
	cookieRefuse = 0xdead
	cookieRevoke = 0xbeef
)

// probeCommand is struct probe_command.
type probeCommand struct {
	Cookie, Offset, Value uint64
	Length, Context       uint32
}

// counts is struct probe_counts.
type counts struct {
	Shares, Stops, Kicks, Works, Late uint64
	Reason                            kshm.Reason
	Inside                            uint32
}

// command sends the probe a command and returns its answer.
func command(t testing.TB, dev *kshm.Device, code kshm.ControlCode, c probeCommand, room int) ([]byte, error) {
	t.Helper()
	in, err := binary.Append(nil, binary.NativeEndian, c)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, room)
	n, err := dev.Control(t.Context(), code, in, out)
	return out[:max(n, 0)], err
}

func mustCommand(t testing.TB, dev *kshm.Device, code kshm.ControlCode, c probeCommand, room int) []byte {
	t.Helper()
	out, err := command(t, dev, code, c, room)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func probeCountsNow(t testing.TB, dev *kshm.Device) (c counts) {
	t.Helper()
	out := mustCommand(t, dev, probeCounts, probeCommand{}, binary.Size(c))
	if _, err := binary.Decode(out, binary.NativeEndian, &c); err != nil {
		t.Fatal(err)
	}
	if c.Late != 0 {
		t.Errorf("%d callbacks ran after stop()", c.Late)
	}
	return c
}

// pinsHeld is how many pages are pinned in the whole guest.
func pinsHeld(t testing.TB) int {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/stat_refresh", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		t.Fatal(err)
	}
	held, found := 0, 0
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, _ := strconv.Atoi(value)
		switch name {
		case "nr_foll_pin_acquired":
			held, found = held+n, found+1
		case "nr_foll_pin_released":
			held, found = held-n, found+1
		}
	}
	if found != 2 {
		t.Fatal("/proc/vmstat does not count pins")
	}
	return held
}

// inUserMode reports whether the kernel is a user-mode Linux.
func inUserMode(t testing.TB) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), "User Mode Linux")
}

// kernelIs reports whether the kernel's release begins so.
func kernelIs(t testing.TB, release string) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(unix.ByteSliceToString(name.Release[:]), release)
}

// notInUserMode skips what user-mode Linux has not, whatever its configuration;
// make test-vm has kernels that have it.
func notInUserMode(t testing.TB, what string) {
	t.Helper()
	if inUserMode(t) {
		t.Skipf("user-mode Linux has no %s", what)
	}
}

// notInRealTime skips what kernels with PREEMPT_RT have not, in the same way.
func notInRealTime(t testing.TB, what string) {
	t.Helper()
	if inRealTime() {
		t.Skipf("kernels with PREEMPT_RT have no %s", what)
	}
}

func inRealTime() bool {
	_, err := os.Stat("/sys/kernel/realtime")
	return err == nil
}
