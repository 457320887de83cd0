// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// What of io_uring's ABI is used here: it is in no package.
const (
	uringFixedFile     = 1 // IOSQE_FIXED_FILE
	uringPollAdd       = 6
	uringRead          = 22
	uringRegisterFiles = 2
	uringEntries       = 0x10000000 // offset of their mapping
)

// uringParams is struct io_uring_params.
type uringParams struct {
	Entries, Completions uint32
	_                    [8]uint32
	Submit, Complete     uringOffsets
}

// uringOffsets is struct io_sqring_offsets and struct io_cqring_offsets: where
// words are in the mapping.
type uringOffsets struct {
	Consumer, Producer, Mask, Count uint32
	_                               uint32
	Completions                     uint32 // Complete's
	List                            uint32 // Submit's
	_                               uint32
	_                               uint64
}

// uringEntry is struct io_uring_sqe.
type uringEntry struct {
	Op, Flags       uint8
	_               uint16
	File            int32
	Offset, Address uint64
	Length, Events  uint32
	Data            uint64
	_               [3]uint64
}

// uring is a small io_uring of this thread.
type uring struct {
	fd      int
	params  uringParams
	rings   []byte // both in one mapping
	entries []byte
}

func newUring(t *testing.T) *uring {
	t.Helper()
	u := new(uring)
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&u.params)), 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	u.fd = int(fd)
	p := &u.params
	u.rings = u.mapping(t, 0, max(p.Submit.List+4*p.Entries, p.Complete.Completions+16*p.Completions))
	u.entries = u.mapping(t, uringEntries, 64*p.Entries)
	return u
}

func (u *uring) mapping(t *testing.T, offset int64, size uint32) []byte {
	t.Helper()
	mem, err := unix.Mmap(u.fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

func (u *uring) word(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&u.rings[at])) }

// submit hands an entry to the kernel.
func (u *uring) submit(t *testing.T, e uringEntry) {
	t.Helper()
	o := u.params.Submit
	at := *u.word(o.Producer)
	slot := at & *u.word(o.Mask)
	*(*uringEntry)(unsafe.Pointer(&u.entries[64*slot])) = e
	*u.word(o.List + 4*slot) = slot
	atomic.StoreUint32(u.word(o.Producer), at+1)
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), 1, 0, 0, 0, 0)
	if n != 1 || errno != 0 {
		t.Fatalf("io_uring_enter: %d, %v", n, errno)
	}
}

// completions waits for n and returns their results, by their data.
func (u *uring) completions(t *testing.T, n int) map[uint64]int32 {
	t.Helper()
	results := make(map[uint64]int32)
	for len(results) < n {
		fds := []unix.PollFd{{Fd: int32(u.fd), Events: unix.POLLIN}}
		if ready, err := unix.Poll(fds, 60_000); err == unix.EINTR {
			continue
		} else if ready == 0 || err != nil {
			t.Fatalf("%d requests have completed, want %d: %v", len(results), n, err)
		}
		o := u.params.Complete
		for next := u.word(o.Consumer); *next != atomic.LoadUint32(u.word(o.Producer)); atomic.AddUint32(next, 1) {
			at := o.Completions + 16*(*next&*u.word(o.Mask))
			results[*(*uint64)(unsafe.Pointer(&u.rings[at]))] = *(*int32)(unsafe.Pointer(&u.rings[at+8]))
		}
	}
	return results
}

// A share's descriptor that io_uring holds, too, works there, does not outlive
// DONE, and ends what is pending on it.
func TestDescriptorInRing(t *testing.T) {
	atRest(t)
	before := pinsHeld(t)
	runtime.LockOSThread() // whose requests they are
	defer runtime.UnlockOSThread()
	u := newUring(t)
	device := rawOpen(t, "probe")
	mem := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	s, err := rawShare(device, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead})
	if err != nil {
		t.Fatal(err)
	}
	fds := [1]int32{int32(s)}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(u.fd), uringRegisterFiles, uintptr(unsafe.Pointer(&fds)), 1, 0, 0); errno != 0 {
		t.Fatal(os.NewSyscallError("io_uring_register", errno))
	}
	events := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	poll := uringEntry{Op: uringPollAdd, Flags: uringFixedFile, Events: unix.POLLIN, Data: 1}
	read := uringEntry{Op: uringRead, Flags: uringFixedFile, Address: addressOf(events), Length: 8, Data: 2}
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	u.submit(t, poll)
	if _, err := rawIoctl(s, abi.IoctlKick, unsafe.Pointer(&cmd)); err != nil {
		t.Fatal(err)
	}
	if r := u.completions(t, 1); r[1] != unix.POLLIN {
		t.Errorf("poll after a kick: %#x", r)
	}
	u.submit(t, read)
	if r := u.completions(t, 1); r[2] != 8 || events[0] != 1 {
		t.Errorf("read after a kick: %v, %d events", r, events[0])
	}
	u.submit(t, poll)
	u.submit(t, read)
	if _, err := rawIoctl(s, abi.IoctlDone, unsafe.Pointer(&cmd)); err != nil {
		t.Error(err)
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("%d pages pinned after DONE", held)
	}
	unix.Close(s)
	if r := u.completions(t, 2); r[1] != unix.POLLIN|unix.POLLHUP || r[2] != 0 {
		t.Errorf("what was pending at DONE: poll %#x, read %d", r[1], r[2])
	}
	u.submit(t, poll) // the ring has the only descriptor
	if r := u.completions(t, 1); r[1] != unix.POLLIN|unix.POLLHUP {
		t.Errorf("poll of an ended share: %#x", r)
	}
	unix.Close(u.fd)
}
