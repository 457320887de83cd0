// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	_, err := command(t, dev, probeStallEnd, probeCommand{Value: 15_000}, 0)
	needs(t, !errors.Is(err, kshm.ErrNotSupported), "kprobes, to hold up a driver with")
	if err != nil {
		t.Fatal(err)
	}
	defer mustCommand(t, dev, probeStallEnd, probeCommand{}, 0)
	s, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead, Cookie: 31})
	if err != nil {
		t.Fatal(err)
	}
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
	mustCommand(t, dev, probeStallEnd, probeCommand{}, 0)
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

// playCrowd makes shares through each of many opens of a device, and waits to be
// killed: "digest 8 1" for one through each of eight.
func playCrowd(what string) {
	var device string
	var opens, shares int
	if _, err := fmt.Sscan(what, &device, &opens, &shares); err != nil {
		fmt.Println("child:", err)
		os.Exit(70)
	}
	mem, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	for range opens {
		var fd int
		if err == nil {
			fd, err = unix.Open("/dev/kshm/"+device, unix.O_RDWR, 0)
		}
		for i := 0; i < shares && err == nil; i++ {
			_, err = rawShare(fd, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 8192, Access: abi.AccessRead | abi.AccessWrite})
		}
	}
	if err != nil {
		fmt.Println("child:", err)
		os.Exit(70)
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

// crowd returns a child that has shared.
func crowd(t *testing.T, device string, opens, shares int) *exec.Cmd {
	t.Helper()
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), "KSHM_TEST_CHILD=crowd", fmt.Sprintf("KSHM_TEST_CROWD=%s %d %d", device, opens, shares))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		child.Process.Kill()
		child.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	return child
}

// timeToDie is how long a process that is killed stays.
func timeToDie(child *exec.Cmd) time.Duration {
	begin := time.Now()
	child.Process.Kill()
	child.Wait()
	return time.Since(begin)
}

// However much a process has shared with a driver that is slow to stop, through
// however many opens, its death takes no longer than with one share; nor does
// that of a process that shares with another driver.
func TestDeathTakesOnePatience(t *testing.T) {
	dev := open(t, "probe")
	device, mem := rawOpen(t, "probe"), mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	die := func(opens, shares int) (own, innocents time.Duration) {
		// So that the latest end is none of a death's.
		s, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead})
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(s)
		before, stops := pinsHeld(t), probeCountsNow(t, dev).Stops
		slow, innocent := crowd(t, "probe", opens, shares), crowd(t, "digest", 1, 1)
		mustCommand(t, dev, probeSlowStop, probeCommand{Value: 60_000, Length: uint32(opens * shares)}, 0)
		ended := make(chan time.Duration)
		go func() { ended <- timeToDie(slow) }()
		for probeCountsNow(t, dev).Reason != kshm.EndExit { // a stop() has begun
			time.Sleep(time.Millisecond)
		}
		innocents = timeToDie(innocent)
		own = <-ended
		if n := probeCountsNow(t, dev).Stops - stops; n != 0 {
			t.Errorf("%d stops returned while all were to be slow", n)
		}
		mustCommand(t, dev, probeSlowStop, probeCommand{}, 0)
		for deadline := time.Now().Add(time.Minute); pinsHeld(t) != before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d pages still pinned", pinsHeld(t)-before)
			}
		}
		return own, innocents
	}
	one, _ := die(1, 1)
	for name, n := range map[string][2]int{"opens": {8, 1}, "shares": {1, 8}} {
		own, innocents := die(n[0], n[1])
		t.Logf("death takes %v with eight %s, %v with one; an innocent's meanwhile %v", own, name, one, innocents)
		if own > 2*one || innocents > 2*one {
			t.Errorf("eight %s: the process stayed %v, an innocent one %v; with one it was %v", name, own, innocents, one)
		}
	}
}
