// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

const underFireRounds = 60

// A call that a signal hits ends with a documented answer: it goes on, or starts
// again by itself where the program asked for that with SA_RESTART, or says
// EINTR and has done nothing.
func TestSignalsDuringEveryCall(t *testing.T) {
	atRest(t)
	for name, restart := range map[string]bool{"restart": true, "no restart": false} {
		t.Run(name, func(t *testing.T) {
			received := handle(t, syscall.SIGUSR1, restart)
			u := &underFire{T: t, restart: restart, interrupted: map[string]int{}}
			done := make(chan struct{})
			thread := make(chan int)
			go func() {
				defer close(done)
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				thread <- unix.Gettid()
				for range underFireRounds {
					u.round()
				}
				// Of SHARE a signal ends one step, which is short.
				for n := 0; !restart && u.interrupted["SHARE"] == 0 && n < 10*underFireRounds; n++ {
					u.round()
				}
			}()
			tid := <-thread
			for stopped := false; !stopped; {
				unix.Tgkill(unix.Getpid(), tid, syscall.SIGUSR1)
				select {
				case <-done:
					stopped = true
				default:
				}
			}
			t.Logf("%d signals; answered EINTR: %v", received.Load(), u.interrupted)
			if received.Load() < underFireRounds {
				t.Error("hardly a signal came through")
			}
			if !restart && u.interrupted["SHARE"] == 0 {
				t.Error("no SHARE was hit")
			}
			if u.interrupted["poll"] == 0 || !restart && u.interrupted["read"] == 0 {
				t.Error("no call was hit while it waited")
			}
		})
	}
}

// handle has Go's handler take the signal, with or without SA_RESTART, which Go
// itself always sets, and counts.
func handle(t *testing.T, sig syscall.Signal, restart bool) *atomic.Int64 {
	t.Helper()
	received := new(atomic.Int64)
	c := make(chan os.Signal, 100)
	signal.Notify(c, sig)
	go func() {
		for range c {
			received.Add(1)
		}
	}()
	var action struct { // struct sigaction of the kernel
		handler, flags, restorer uintptr
		mask                     [2]uint32
	}
	get := func(set, old unsafe.Pointer) {
		if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(set), uintptr(old), 8, 0, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	const saRestart = 0x10000000
	get(nil, unsafe.Pointer(&action))
	if action.flags&saRestart == 0 {
		t.Fatalf("flags %#x: is this struct sigaction?", action.flags)
	}
	t.Cleanup(func() {
		action.flags |= saRestart
		get(unsafe.Pointer(&action), nil)
		signal.Stop(c)
		close(c)
	})
	if !restart {
		action.flags &^= saRestart
		get(unsafe.Pointer(&action), nil)
	}
	return received
}

// interruptible are the calls that may answer EINTR, with and without SA_RESTART.
var interruptible = map[bool][]string{true: {"poll"}, false: {"SHARE", "read", "poll"}}

// underFire makes every call on a thread that signals rain on.
type underFire struct {
	*testing.T
	restart     bool
	interrupted map[string]int
}

// call repeats a call until no signal ends it, and fails it for any other error.
func (u *underFire) call(name string, f func() (int, error)) int {
	for {
		r, err := f()
		switch {
		case err == nil:
			return r
		case err != unix.EINTR:
			u.Errorf("%s: %v", name, err)
			return r
		case !slices.Contains(interruptible[u.restart], name):
			u.Errorf("%s: EINTR (SA_RESTART: %v)", name, u.restart)
			return r
		}
		u.interrupted[name]++
	}
}

func (u *underFire) round() {
	const pages = 300
	device := u.call("open", func() (int, error) { return unix.Open("/dev/kshm/probe", unix.O_RDWR|unix.O_CLOEXEC, 0) })
	mem, err := unix.Mmap(-1, 0, pages*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		u.Error(err)
		return
	}
	defer unix.Munmap(mem)
	info := abi.Info{Size: abi.SizeofInfo}
	u.call("INFO", func() (int, error) { return rawIoctl(device, abi.IoctlInfo, unsafe.Pointer(&info)) })
	args := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: uint64(len(mem)), Cookie: 41, Access: abi.AccessRead | abi.AccessWrite}
	s := u.call("SHARE", func() (int, error) { return rawShare(device, args) })
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	// Until a signal has come while nothing else could end the wait.
	fds := []unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 10); err == unix.EINTR {
		u.interrupted["poll"]++
	}
	u.readOnce(s)
	u.call("KICK", func() (int, error) { return rawIoctl(s, abi.IoctlKick, unsafe.Pointer(&cmd)) })
	var events [8]byte
	if n := u.call("read", func() (int, error) { return unix.Read(s, events[:]) }); n != 8 {
		u.Errorf("read: %d bytes", n)
	}
	stats := abi.Stats{Size: abi.SizeofStats}
	u.call("STATS", func() (int, error) { return rawIoctl(s, abi.IoctlStats, unsafe.Pointer(&stats)) })
	if stats.Kicks != 1 || stats.Events != 1 {
		u.Errorf("%d kicks and %d events after one KICK", stats.Kicks, stats.Events)
	}
	c := probeCommand{Cookie: 41, Value: 1}
	control := abi.Control{Size: abi.SizeofControl, Code: probeHold, In: uint64(uintptr(unsafe.Pointer(&c))), In_length: uint32(unsafe.Sizeof(c))}
	u.call("CONTROL", func() (int, error) { return rawIoctl(device, abi.IoctlControl, unsafe.Pointer(&control)) })
	if r := u.call("DONE", func() (int, error) { return rawIoctl(s, abi.IoctlDone, unsafe.Pointer(&cmd)) }); r != abi.EndDone {
		u.Errorf("DONE: %d", r)
	}
	u.call("close", func() (int, error) { return 0, unix.Close(s) })
	u.call("close", func() (int, error) { return 0, unix.Close(device) })
}

// readOnce has a blocking read of a share without events, which only a signal
// ends; under SA_RESTART it would go on for ever.
func (u *underFire) readOnce(s int) {
	if u.restart {
		return
	}
	var events [8]byte
	if _, err := unix.Read(s, events[:]); err != unix.EINTR {
		u.Errorf("read of a share without events: %v", err)
		return
	}
	u.interrupted["read"]++
}
