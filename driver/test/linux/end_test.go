// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"errors"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/internal/abi"
)

// A driver that revokes a share may be held up once the end is its own, for
// longer than the last close waits: what it goes on with is still there.
func TestCloseDuringLateRevoke(t *testing.T) {
	dev := open(t, "probe")
	before, stops := pinsHeld(t), probeCountsNow(t, dev).Stops
	device := rawOpen(t, "probe")
	mem := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	s, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead, Cookie: 31})
	if err != nil {
		t.Fatal(err)
	}
	_, err = command(t, dev, probeStallEnd, probeCommand{Value: 7000}, 0)
	if errors.Is(err, kshm.ErrNotSupported) {
		unix.Close(s)
		t.Skip("this kernel has no kprobes to hold up the driver with")
	} else if err != nil {
		t.Fatal(err)
	}
	defer mustCommand(t, dev, probeStallEnd, probeCommand{}, 0)
	revoked := make(chan error, 1)
	go func() {
		_, err := command(t, dev, probeRevoke, probeCommand{Cookie: 31}, 0)
		revoked <- err
	}()
	for st := (abi.Stats{Size: abi.SizeofStats}); st.Reason != abi.EndRevoked; time.Sleep(time.Millisecond) {
		if _, err := rawIoctl(s, abi.IoctlStats, unsafe.Pointer(&st)); err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(s)
	if len(revoked) > 0 {
		t.Error("the driver was not held up for longer than the last close")
	}
	if err := <-revoked; err != nil {
		t.Error(err)
	}
	// The end comes soon after the revoke, from a worker.
	for deadline := time.Now().Add(time.Minute); pinsHeld(t) != before && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages still pinned", held)
	}
	if c := probeCountsNow(t, dev); c.Stops != stops+1 || c.Reason != kshm.EndRevoked {
		t.Errorf("%d stops, the last for %v", c.Stops-stops, c.Reason)
	}
}
