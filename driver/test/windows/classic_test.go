// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/windows"

	"kshm"
)

// codePoke makes mydriver add 1 to every shared byte and set its event.
var codePoke = kshm.CTLCode(kshm.FileDeviceUnknown, 3, kshm.MethodBuffered, kshm.FileAnyAccess)

func openClassic(t testing.TB) *kshm.Device {
	return open(t, "mydriver", kshm.WithCodes(kshm.CodeShare, kshm.CodeDone))
}

// The recipe: pend, work, DONE. The bytes are looked at after the end, when
// they are there on every system.
func TestClassic(t *testing.T) {
	dev := openClassic(t)
	if most := dev.Info().MaxLength; most != 1<<32-4096 {
		t.Errorf("a share may have %d bytes; one MDL describes 4 GiB less a page", most)
	}
	for _, size := range []int{1, 999, 4096, 100_000} {
		buf, err := dev.Alloc(size, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range buf.Bytes() {
			buf.Bytes()[i] = byte(i)
		}
		s, err := dev.Share(buf, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = dev.Share(buf, nil)
		mustBe(t, "a second share", err, windows.STATUS_SHARING_VIOLATION)
		if _, err := dev.Control(t.Context(), codePoke, nil, nil); err != nil {
			t.Fatal(err)
		}
		mustBe(t, "kick", s.Kick(), kshm.ErrNotSupported)
		if st, err := s.Stats(); err != nil || st.Reason != kshm.Live || st.Length != uint64(size) {
			t.Errorf("stats %+v, %v", st, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if st, err := s.Stats(); err != nil || st.Reason != kshm.EndDone || st.Pinned != 0 {
			t.Errorf("stats %+v, %v", st, err)
		}
		for i, b := range buf.Bytes() {
			if b != byte(i)+1 {
				t.Fatalf("byte %d is %d, want %d", i, b, byte(i)+1)
			}
		}
		if err := buf.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Any address and any length: the bytes around those that are shared stay.
func TestClassicAnyAddress(t *testing.T) {
	dev := openClassic(t)
	whole, err := dev.Alloc(4*4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	mem := whole.Bytes()
	for _, at := range []struct{ off, n int }{{1, 1}, {4095, 1}, {4095, 2}, {7, 4096}, {100, 3*4096 + 5}, {0, 4 * 4096}, {4*4096 - 1, 1}} {
		clear(mem)
		buf, err := kshm.WrapAny(mem[at.off : at.off+at.n])
		if err != nil {
			t.Fatal(err)
		}
		s, err := dev.Share(buf, nil)
		if err != nil {
			t.Fatalf("%d bytes at %d: %v", at.n, at.off, err)
		}
		if _, err := dev.Control(t.Context(), codePoke, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Close(), buf.Close()); err != nil {
			t.Fatal(err)
		}
		for i, b := range mem {
			if inside := i >= at.off && i < at.off+at.n; (b == 1) != inside || b > 1 {
				t.Fatalf("%d bytes at %d: byte %d is %d", at.n, at.off, i, b)
			}
		}
	}
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
}

// The driver's event by name: each of its events wakes the waiters.
func TestClassicEventByName(t *testing.T) {
	name, err := windows.UTF16PtrFromString(`Global\MyDriverEvent`)
	if err != nil {
		t.Fatal(err)
	}
	event, err := windows.OpenEvent(windows.SYNCHRONIZE, false, name)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(event)
	windows.WaitForSingleObject(event, 0) // what an earlier test left

	dev := openClassic(t)
	s, _ := share(t, dev, 4096, &kshm.ShareOptions{Event: uintptr(event)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for seen := uint64(0); seen < 5; {
		if _, err := dev.Control(ctx, codePoke, nil, nil); err != nil {
			t.Fatal(err)
		}
		if seen, err = s.Wait(ctx, seen); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Wait(ctx, 5)
	mustBe(t, "wait after the end", err, kshm.ErrClosed)
}

// A request that pends is taken back when its context is done; the share code
// itself is one that pends.
func TestControlContext(t *testing.T) {
	dev := openClassic(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := dev.Control(ctx, kshm.CodeShare, nil, make([]byte, 100))
	mustBe(t, "control", err, context.DeadlineExceeded)
	share(t, dev, 4096, nil) // the driver holds nothing
}

// DONE of the recipe names no share: a share that has ended by itself must not
// say it when it is closed, for it would end another one.
func TestClassicCloseEndsNoOther(t *testing.T) {
	dev := openClassic(t)
	a, _ := share(t, dev, 4096, nil)
	if _, err := dev.Control(t.Context(), kshm.CodeDone, nil, nil); err != nil {
		t.Fatal(err)
	}
	<-a.Done()
	b, buf := share(t, dev, 4096, nil)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Err(); err != nil {
		t.Fatal("closing an ended share has ended another:", err)
	}
	if _, err := dev.Control(t.Context(), codePoke, nil, nil); err != nil {
		t.Fatal("the other share is not the driver's any more:", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := buf.Bytes()[0]; got != 1 {
		t.Fatalf("the first byte is %d, want 1", got)
	}
}

func TestClassicDoneCancelRaces(t *testing.T) {
	dev := openClassic(t)
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := dev.Control(ctx, kshm.CodeShare, nil, make([]byte, 100)); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		wg.Go(cancel)
		// May come before the share, or after its end.
		if _, err := dev.Control(t.Context(), kshm.CodeDone, nil, nil); err != nil && !errors.Is(err, windows.STATUS_NOT_FOUND) {
			t.Error(err)
		}
		wg.Wait()
	}
	share(t, dev, 4096, nil)
}

// The example is a program of its own; whoever runs these tests has built it.
func TestClassicExample(t *testing.T) {
	out, err := exec.Command(filepath.Join(os.Getenv("KSHM_WINDOWS_DRIVERS"), "classic.exe")).CombinedOutput()
	if want := "IBM:;\n"; err != nil || string(out) != want {
		t.Fatalf("%q, %v, want %q", out, err, want)
	}
}

// The recipe in C, without anything of kshm.
func TestClassicInC(t *testing.T) {
	out, err := exec.Command(filepath.Join(os.Getenv("KSHM_WINDOWS_DRIVERS"), "recipe.exe")).CombinedOutput()
	if want := "ok"; err != nil || strings.TrimSpace(string(out)) != want {
		t.Fatalf("%q, %v, want %q", out, err, want)
	}
}

const childEnv = "KSHM_WINDOWS_TEST_CHILD"

// TestClassicChild is the program that TestClassicProgramKilled kills.
func TestClassicChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		return
	}
	share(t, openClassic(t), 4096, nil)
	fmt.Println("sharing")
	time.Sleep(time.Minute)
	t.Fatal("nobody has killed the child")
}

// The death of a program ends its share, so that the next one can have it.
func TestClassicProgramKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		cmd := exec.Command(exe, "-test.run=^TestClassicChild$")
		cmd.Env = append(os.Environ(), childEnv+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		shareSoon(t)
	}
}

// shareSoon shares as soon as the driver has let go of a dead program's memory.
func shareSoon(t *testing.T) {
	t.Helper()
	dev := openClassic(t)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		buf, err := dev.Alloc(4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := dev.Share(buf, nil)
		if err == nil {
			if err := errors.Join(s.Close(), buf.Close()); err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, windows.STATUS_SHARING_VIOLATION) || time.Now().After(deadline) {
			t.Fatal("share after the death:", err)
		}
		buf.Close()
	}
}
