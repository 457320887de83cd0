// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kshm"
)

// setParameter sets a module's parameter for the time of a test.
func setParameter(t *testing.T, module, name string, value any) {
	t.Helper()
	path := "/sys/module/" + module + "/parameters/" + name
	before, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, fmt.Append(nil, value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, before, 0); err != nil {
			t.Error(err)
		}
	})
}

// limit is a cap of the kit's, and how to come to it: by so many shares of so
// many pages, in turns through each of some devices.
type limit struct {
	parameter     string
	value         int
	shares, pages int
	devices       []string
	want          unix.Errno
}

// Each cap lets exactly as much through as it says, refuses the next share with
// its own error and a remedy, and changes nothing by that; what ends makes room.
func TestCaps(t *testing.T) {
	for _, l := range []limit{
		{"max_open_shares", 7, 7, 1, []string{"probe"}, unix.EMFILE},
		{"max_user_shares", 9, 9, 2, []string{"probe", "probe", "digest"}, unix.EUSERS},
		{"max_user_bytes", 12 * 4096, 4, 3, []string{"probe", "probe", "digest"}, unix.EUSERS},
		{"max_user_bytes", 13*4096 - 1, 4, 3, []string{"probe"}, unix.EUSERS}, // which is no more
	} {
		t.Run(fmt.Sprint(l.parameter, " ", l.value), func(t *testing.T) {
			var devices []*kshm.Device
			for _, name := range l.devices {
				devices = append(devices, open(t, name))
			}
			setParameter(t, "kshm", l.parameter, l.value)
			for round := range 2 {
				shares := l.fill(t, devices)
				for i := range 3 { // one goes, one comes
					if err := shares[i].Close(); err != nil {
						t.Fatal(err)
					}
					shares[i] = l.take(t, devices[i%len(devices)])
					l.refused(t, devices[(i+round)%len(devices)])
				}
				for _, s := range shares {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}

// fill comes to the cap.
func (l limit) fill(t *testing.T, devices []*kshm.Device) (shares []*kshm.Share) {
	t.Helper()
	before := pinsHeld(t)
	for i := range l.shares {
		shares = append(shares, l.take(t, devices[i%len(devices)]))
	}
	for _, dev := range devices {
		l.refused(t, dev)
	}
	if held := pinsHeld(t) - before; held != l.shares*l.pages {
		t.Errorf("%d pages pinned by %d shares of %d pages", held, l.shares, l.pages)
	}
	return shares
}

func (l limit) share(t *testing.T, dev *kshm.Device) (*kshm.Share, error) {
	t.Helper()
	mem := mmap(t, l.pages*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	buf, err := kshm.Wrap(mem)
	if err != nil {
		t.Fatal(err)
	}
	return dev.Share(buf, nil)
}

func (l limit) take(t *testing.T, dev *kshm.Device) *kshm.Share {
	t.Helper()
	s, err := l.share(t, dev)
	if err != nil {
		t.Fatalf("%s of %d: %v", l.parameter, l.value, err)
	}
	return s
}

func (l limit) refused(t *testing.T, dev *kshm.Device) {
	t.Helper()
	s, err := l.share(t, dev)
	if err == nil {
		s.Close()
		t.Fatalf("%s of %d lets one share more through", l.parameter, l.value)
	}
	var op *kshm.OpError
	if !errors.Is(err, kshm.ErrLimit) || !errors.Is(err, l.want) || !errors.As(err, &op) || !strings.Contains(op.Remedy, l.parameter) {
		t.Errorf("%s of %d: %v", l.parameter, l.value, err)
	}
}

// buffer is memory to share, for as long as the test runs.
func buffer(t *testing.T, dev *kshm.Device, size int) *kshm.Buffer {
	t.Helper()
	buf, err := dev.Alloc(size, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := buf.Close(); err != nil {
			t.Error(err)
		}
	})
	return buf
}

// asUser calls f on a thread of its own that is another user's.
func asUser(uid int, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			result <- os.NewSyscallError("setresuid", errno)
			return
		}
		result <- f()
	}()
	return <-result
}

// A cap per open leaves other opens alone, and a cap per user other users.
func TestCapsAreOnesOwn(t *testing.T) {
	first, second := open(t, "probe"), open(t, "probe")
	buf := buffer(t, first, 4096)
	setParameter(t, "kshm", "max_open_shares", 1)
	for _, dev := range []*kshm.Device{first, second} {
		share(t, dev, 4096, nil)
	}
	setParameter(t, "kshm", "max_open_shares", 100)
	setParameter(t, "kshm", "max_user_shares", 2)
	if _, err := first.Share(buf, nil); !errors.Is(err, unix.EUSERS) {
		t.Errorf("the third share: %v", err)
	}
	err := asUser(2003, func() error {
		for range 2 {
			s, err := first.Share(buf, nil)
			if err != nil {
				return err
			}
			defer s.Close()
		}
		if _, err := first.Share(buf, nil); !errors.Is(err, unix.EUSERS) {
			return fmt.Errorf("the third share: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Errorf("another user: %v", err)
	}
}

// The cap of a share's length is to the byte, and INFO tells programs all caps.
func TestCapsInInfo(t *testing.T) {
	atRest(t)
	setParameter(t, "kshm", "max_length", 8192)
	setParameter(t, "kshm", "max_user_bytes", 5<<20)
	setParameter(t, "kshm", "max_user_shares", 321)
	setParameter(t, "kshm", "max_open_shares", 123)
	dev := open(t, "probe")
	if i := dev.Info(); i.MaxLength != 8192 || i.MaxUserBytes != 5<<20 || i.MaxUserShares != 321 || i.MaxOpenShares != 123 {
		t.Errorf("%+v", i)
	}
	share(t, dev, 8192, nil)
	if _, err := dev.Share(buffer(t, dev, 8193), nil); !errors.Is(err, kshm.ErrRange) {
		t.Errorf("a share of 8193 bytes: %v", err)
	}
}
