// SPDX-License-Identifier: MIT

//go:build windows && kernel && !kshm_test_section

package windows

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"kshm"
	"kshm/internal/abi"
	"kshm/internal/sys"
)

// What Wine does not have: these tests are for real Windows, and have not run
// yet. The requests are made below package kshm, which would tidy up.

// pended is a share request of this process, in memory that does not move.
type pended struct {
	device     windows.Handle
	overlapped *windows.Overlapped
	memory     []byte
}

const rawPath = `\\.\kshm_digest`

func openRaw(path string) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	return windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_OVERLAPPED, 0)
}

// pend makes a share with that cookie and event; the error is a refusal.
func pend(device windows.Handle, cookie uint64, event uintptr) (*pended, error) {
	mem, err := sys.Alloc(16<<10, false)
	if err != nil {
		return nil, err
	}
	block, err := sys.Alloc(4096, false)
	if err != nil {
		return nil, err
	}
	p := &pended{device, (*windows.Overlapped)(unsafe.Pointer(&block[0])), mem}
	if p.overlapped.HEvent, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
		return nil, err
	}
	args := (*abi.ShareArgs)(unsafe.Pointer(&block[1024]))
	*args = abi.ShareArgs{Size: abi.SizeofShareArgs, Address: uint64(uintptr(unsafe.Pointer(&mem[0]))), Length: uint64(len(mem)),
		Cookie: cookie, Access: abi.AccessRead | abi.AccessWrite, Event: uint64(event)}
	err = windows.DeviceIoControl(device, abi.CtlShare, (*byte)(unsafe.Pointer(args)), abi.SizeofShareArgs, &mem[0], uint32(len(mem)), nil, p.overlapped)
	if err != windows.ERROR_IO_PENDING {
		return nil, fmt.Errorf("SHARE does not pend: %w", err)
	}
	return p, nil
}

// ended waits for the completion and returns its status.
func (p *pended) ended(t *testing.T) windows.NTStatus {
	t.Helper()
	if n, err := windows.WaitForSingleObject(p.overlapped.HEvent, 60_000); n != windows.WAIT_OBJECT_0 {
		t.Fatalf("the share does not end: %#x, %v", n, err)
	}
	return windows.NTStatus(uint32(p.overlapped.Internal))
}

func (p *pended) live() bool {
	n, _ := windows.WaitForSingleObject(p.overlapped.HEvent, 0)
	return n == uint32(windows.WAIT_TIMEOUT)
}

func mustPend(t *testing.T) *pended {
	t.Helper()
	device, err := openRaw(rawPath)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pend(device, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCloseHandleEndsTheShare(t *testing.T) {
	p := mustPend(t)
	if err := windows.CloseHandle(p.device); err != nil {
		t.Fatal(err)
	}
	if s := p.ended(t); s != windows.STATUS_FILE_CLOSED {
		t.Errorf("ended with %v", s)
	}
}

// The device lets SYSTEM and Administrators in, and nobody else.
func TestDescriptor(t *testing.T) {
	device, err := openRaw(rawPath)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(device)
	sd, err := windows.GetSecurityInfo(device, windows.SE_KERNEL_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	const want = "D:P(A;;FA;;;SY)(A;;FA;;;BA)"
	if got := sd.String(); got != want {
		t.Errorf("the descriptor is %s, want %s", got, want)
	}
}

// A program of 32 bits is refused, and told why.
func TestCallerOf32Bits(t *testing.T) {
	out, err := exec.Command(os.Getenv("KSHM_WINDOWS_DRIVERS")+`\kshm32.exe`, "info", "digest").CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 3 || !strings.Contains(string(out), "32-bit") {
		t.Errorf("%v: %s", err, out)
	}
}

// onThread runs f on a thread that ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		f()
	}()
	<-done
	time.Sleep(100 * time.Millisecond) // the thread ends after its last word
}

// The thread that made a share ends: the share too, unless its handle belongs
// to a completion port.
func TestThreadEnds(t *testing.T) {
	for _, port := range []bool{false, true} {
		device, err := openRaw(rawPath)
		if err != nil {
			t.Fatal(err)
		}
		if port {
			if _, err := windows.CreateIoCompletionPort(device, 0, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		var p *pended
		onThread(func() { p, err = pend(device, 1, 0) })
		if err != nil {
			t.Fatal(err)
		}
		if !port {
			if s := p.ended(t); s != windows.STATUS_CANCELLED {
				t.Errorf("ended with %v", s)
			}
		} else if !p.live() {
			t.Error("the share ended with its thread, though the handle has a port")
		}
		windows.CloseHandle(device)
		p.ended(t)
	}
}

// STOP is for who has the privilege turned on, and others are told so.
func TestStopTakesThePrivilege(t *testing.T) {
	dev, err := kshm.Open("digest")
	if err != nil {
		t.Fatal(err)
	}
	stop := func() error {
		_, err := dev.Control(t.Context(), kshm.ControlCode(abi.CtlStop), nil, nil)
		return err
	}
	adjust(t, 0)
	err = stop()
	mustBe(t, "STOP, with the privilege turned off", err, kshm.ErrPermission)
	if op, ok := errors.AsType[*kshm.OpError](err); !ok || !strings.Contains(op.Remedy, loadDriver) {
		t.Errorf("%v does not say what to do", err)
	}
	if err := sys.EnablePrivilege(loadDriver); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stop(), dev.Close()); err != nil {
		t.Fatal(err)
	}
	digest.reload(t)
}

// A driver that waits for its last handle is not asked to unload twice, and
// whoever asks is told what it waits for.
func TestStopWhileOpen(t *testing.T) {
	if err := digest.stop(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := digest.start(); err != nil {
			t.Fatal(err)
		}
	}()
	expect(t, 0, "installed", "driver", "install", "digest", os.Getenv("KSHM_WINDOWS_DRIVERS")+`\`+digestImage)
	expect(t, 0, "running", "driver", "start", "digest")
	dev, err := kshm.Open("digest")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, 1, "close them", "driver", "stop", "digest")
	expect(t, 1, "close them", "driver", "stop", "--end-shares", "digest")
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, 0, "stopped", "driver", "stop", "digest")
	expect(t, 0, "removed", "driver", "remove", "digest")
}

const duplicateEnv = "KSHM_TEST_DUPLICATE"

// The child of TestDuplicatedHandle: it shares, says its handle, and is killed.
func TestDuplicatedHandleChild(t *testing.T) {
	if os.Getenv(childEnv) != duplicateEnv {
		return
	}
	device, err := openRaw(rawPath)
	if err != nil {
		t.Fatal(err)
	}
	// Else the death of its thread would end the share, before the process's does.
	if _, err := windows.CreateIoCompletionPort(device, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	p, err := pend(device, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("handle", uintptr(p.device))
	time.Sleep(time.Hour)
}

// A process dies while another holds a duplicate of its handle: its share ends.
func TestDuplicatedHandle(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestDuplicatedHandleChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+duplicateEnv)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var theirs uintptr
	if _, err := fmt.Sscanf(line, "handle %d", &theirs); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	process, err := windows.OpenProcess(windows.PROCESS_DUP_HANDLE, false, uint32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var ours windows.Handle
	err = windows.DuplicateHandle(process, windows.Handle(theirs), windows.CurrentProcess(), &ours, 0, false, windows.DUPLICATE_SAME_ACCESS)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(ours)
	cmd.Process.Kill()
	cmd.Wait()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		reason, err := reasonOf(ours)
		if err != nil {
			t.Fatal(err)
		}
		if reason == abi.EndExit {
			return
		}
		if reason != abi.Live || time.Now().After(deadline) {
			t.Fatalf("the share is %v", kshm.Reason(reason))
		}
	}
}

// reasonOf asks for share 1 of a handle.
func reasonOf(device windows.Handle) (uint32, error) {
	stats := abi.Stats{Size: abi.SizeofStats, Share: 1}
	o := windows.Overlapped{}
	var err error
	if o.HEvent, err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
		return 0, err
	}
	defer windows.CloseHandle(o.HEvent)
	b := (*byte)(unsafe.Pointer(&stats))
	err = windows.DeviceIoControl(device, abi.CtlStats, b, abi.SizeofStats, b, abi.SizeofStats, nil, &o)
	if err != nil && err != windows.ERROR_IO_PENDING {
		return 0, err
	}
	var n uint32
	err = windows.GetOverlappedResult(device, &o, &n, true)
	runtime.KeepAlive(&stats)
	return stats.Reason, err
}

// The driver sets an event that it was given by handle, and refuses others.
func TestEventByHandle(t *testing.T) {
	dev := open(t, "digest")
	event, err := windows.CreateEvent(nil, 0, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, buf := share(t, dev, 16<<10, &kshm.ShareOptions{Event: uintptr(event)})
	request, err := kshm.View[uint64](buf.Bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	*request = 1
	if err := s.Kick(); err != nil {
		t.Fatal(err)
	}
	if n, _ := windows.WaitForSingleObject(event, 60_000); n != windows.WAIT_OBJECT_0 {
		t.Error("the event was not set")
	}
	if err := windows.CloseHandle(event); err != nil { // the driver has its own reference
		t.Error(err)
	}
	_, err = dev.Share(buf, &kshm.ShareOptions{Event: uintptr(windows.CurrentProcess())})
	mustBe(t, "no handle", err, kshm.ErrInvalid)
	device, err := openRaw(rawPath)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(device)
	_, err = dev.Share(buf, &kshm.ShareOptions{Event: uintptr(device)})
	mustBe(t, "no event", err, kshm.ErrInvalid)
}

// Large pages take a privilege that few users have, and memory in one piece.
func TestLargePages(t *testing.T) {
	dev := open(t, "digest")
	buf, err := dev.Alloc(2<<20, &kshm.AllocOptions{HugePages: true})
	if errors.Is(err, windows.ERROR_PRIVILEGE_NOT_HELD) || errors.Is(err, windows.ERROR_NO_SYSTEM_RESOURCES) {
		t.Log("not shown: ", err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := dev.Share(buf, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), buf.Close()); err != nil {
		t.Fatal(err)
	}
}

// Shares are refused here and there, under Driver Verifier; none is half made.
// Whoever has turned that on says so, and wants to see refusals.
func TestLowResources(t *testing.T) {
	dev := open(t, "digest")
	made, refused := 0, 0
	for range 2000 {
		buf, err := dev.Alloc(16<<10, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := dev.Share(buf, nil)
		if err == nil {
			made++
			err = s.Close()
		} else if errors.Is(err, windows.STATUS_INSUFFICIENT_RESOURCES) {
			refused++
			err = nil
		}
		if err := errors.Join(err, buf.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if made == 0 {
		t.Error("not one share was made")
	}
	if refused == 0 && os.Getenv("KSHM_LOW_RESOURCES") != "" {
		t.Error("not one share was refused")
	}
	t.Logf("%d shares made, %d refused", made, refused)
}
