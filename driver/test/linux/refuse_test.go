// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm"
	"kshm/internal/abi"
)

func readDir(path string) ([]os.DirEntry, error) { return os.ReadDir(path) }

func mmap(t testing.TB, size, prot, flags int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, size, prot, flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

// rawOpen and rawIoctl go around the library: what it never sends, a hostile
// program does.
func rawOpen(t testing.TB, name string) int {
	t.Helper()
	atRest(t)
	fd, err := unix.Open(filepath.Join("/dev/kshm", name), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func rawIoctl(fd int, request uintptr, arg unsafe.Pointer) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

func rawShare(fd int, a abi.ShareArgs) (int, error) {
	return rawIoctl(fd, abi.IoctlShare, unsafe.Pointer(&a))
}

func addressOf(mem []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&mem[0]))) }

func TestShareRefusesBadArguments(t *testing.T) {
	fd := rawOpen(t, "probe")
	mem := mmap(t, 4*4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	good := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead | abi.AccessWrite}
	const kernelAddress = 0xffff_8880_0000_0000
	cases := []struct {
		name   string
		change func(a *abi.ShareArgs)
		want   error
	}{
		{"misaligned", func(a *abi.ShareArgs) { a.Address++ }, unix.EINVAL},
		{"misaligned by a word", func(a *abi.ShareArgs) { a.Address += 8 }, unix.EINVAL},
		{"no length", func(a *abi.ShareArgs) { a.Length = 0 }, unix.EINVAL},
		{"end overflows", func(a *abi.ShareArgs) { a.Length = -a.Address + 1 }, unix.EOVERFLOW},
		{"end overflows by a page", func(a *abi.ShareArgs) { a.Length = -a.Address - 1 }, unix.EOVERFLOW},
		{"all of memory", func(a *abi.ShareArgs) { a.Length = 1<<63 - a.Address }, unix.ERANGE},
		{"a terabyte", func(a *abi.ShareArgs) { a.Length = 1 << 40 }, unix.ERANGE},
		{"null", func(a *abi.ShareArgs) { a.Address = 0 }, unix.EFAULT},
		{"past the mapping", func(a *abi.ShareArgs) { a.Length = 64 << 20 }, unix.EFAULT},
		{"kernel address", func(a *abi.ShareArgs) { a.Address = kernelAddress }, unix.EFAULT},
		{"unknown flag", func(a *abi.ShareArgs) { a.Flags = 1 }, unix.EINVAL},
		{"reserved", func(a *abi.ShareArgs) { a.Reserved = 1 }, unix.EINVAL},
		{"event handle", func(a *abi.ShareArgs) { a.Event = 1 }, unix.EINVAL},
		{"no access", func(a *abi.ShareArgs) { a.Access = 0 }, unix.EINVAL},
		{"write without read", func(a *abi.ShareArgs) { a.Access = abi.AccessWrite }, unix.EINVAL},
		{"unknown access", func(a *abi.ShareArgs) { a.Access |= 4 }, unix.EINVAL},
		{"rings", func(a *abi.ShareArgs) { a.Rings[7].Reserved = 1 }, unix.EOPNOTSUPP},
		{"short command", func(a *abi.ShareArgs) { a.Size = abi.SizeofShareArgs - 8 }, unix.EINVAL},
		{"empty command", func(a *abi.ShareArgs) { a.Size = 0 }, unix.EINVAL},
		{"huge command", func(a *abi.ShareArgs) { a.Size = 1 << 31 }, unix.E2BIG},
	}
	before := pinsHeld(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := good
			c.change(&a)
			if s, err := rawShare(fd, a); err != c.want {
				unix.Close(s)
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("refused shares left %d pages pinned", held)
	}
	if s, err := rawShare(fd, good); err != nil {
		t.Errorf("a good share afterwards: %v", err)
	} else {
		unix.Close(s)
	}
}

// A command may be longer than the kernel knows, if the rest is zero.
func TestLongCommands(t *testing.T) {
	fd := rawOpen(t, "probe")
	mem := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	var long struct {
		abi.ShareArgs
		More [16]byte
	}
	long.ShareArgs = abi.ShareArgs{Size: uint32(unsafe.Sizeof(long)), Address: addressOf(mem), Length: 4096, Access: abi.AccessRead}
	s, err := rawIoctl(fd, abi.IoctlShare, unsafe.Pointer(&long))
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(s)
	long.More[15] = 1
	if _, err := rawIoctl(fd, abi.IoctlShare, unsafe.Pointer(&long)); err != unix.E2BIG {
		t.Errorf("unknown fields: %v", err)
	}
	for _, request := range []uintptr{abi.IoctlInfo, abi.IoctlShare, abi.IoctlControl} {
		if _, err := rawIoctl(fd, request, nil); err != unix.EFAULT {
			t.Errorf("%#x of a null pointer: %v", request, err)
		}
	}
}

func TestShareRefusesMemory(t *testing.T) {
	dev := open(t, "probe")
	dir := t.TempDir()
	if err := unix.Mount("ramfs", dir, "ramfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	mapFile := func(prot, flags int) []byte {
		mem, err := unix.Mmap(int(file.Fd()), 0, 4096, prot, flags)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Munmap(mem) })
		return mem
	}
	rw := unix.PROT_READ | unix.PROT_WRITE
	anonymous := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	type refusal struct {
		mem      []byte
		readOnly bool
	}
	cases := map[string]refusal{
		"inaccessible":       {mmap(t, 4096, unix.PROT_NONE, anonymous), false},
		"inaccessible, read": {mmap(t, 4096, unix.PROT_NONE, anonymous), true},
		"file":               {mapFile(rw, unix.MAP_SHARED), false},
		"file, read":         {mapFile(unix.PROT_READ, unix.MAP_SHARED), true},
	}
	// What user-mode Linux gives its programs to read is not in a mapping.
	if !inUserMode(t) {
		cases["memory of a device"] = refusal{mapping(t, "[vvar]"), true}
	}
	before := pinsHeld(t)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			buf, err := kshm.Wrap(c.mem)
			if err != nil {
				t.Fatal(err)
			}
			s, err := dev.Share(buf, &kshm.ShareOptions{ReadOnly: c.readOnly})
			if !errors.Is(err, kshm.ErrMemory) {
				t.Errorf("got %v", err)
			}
			if err == nil {
				s.Close()
			}
		})
	}
	if held := pinsHeld(t) - before; held != 0 {
		t.Errorf("refused memory left %d pages pinned", held)
	}
}

// mapping is the first page of the process's mapping of that name.
func mapping(t testing.TB, name string) []byte {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), name) {
			continue
		}
		start, _, _ := strings.Cut(line, "-")
		address, err := strconv.ParseUint(start, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&address))), 4096)
	}
	t.Fatalf("no mapping %s", name)
	return nil
}

func TestShareTakesMemory(t *testing.T) {
	dev := open(t, "probe")
	rw := unix.PROT_READ | unix.PROT_WRITE
	memfd, err := unix.MemfdCreate("kshm-test", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memfd)
	if err := unix.Ftruncate(memfd, 8192); err != nil {
		t.Fatal(err)
	}
	shared, err := unix.Mmap(memfd, 0, 8192, rw, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(shared)
	private, err := unix.Mmap(memfd, 0, 8192, rw, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(private)
	for name, mem := range map[string][]byte{
		"anonymous":        mmap(t, 8192, rw, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS),
		"anonymous shared": mmap(t, 8192, rw, unix.MAP_SHARED|unix.MAP_ANONYMOUS),
		"memfd":            shared,
		"private memfd":    private,
	} {
		t.Run(name, func(t *testing.T) {
			buf, err := kshm.Wrap(mem)
			if err != nil {
				t.Fatal(err)
			}
			s, err := dev.Share(buf, &kshm.ShareOptions{Cookie: 11})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			mem[5000] = 42
			if got := mustCommand(t, dev, probePeek, probeCommand{Cookie: 11, Offset: 5000, Length: 1}, 1); got[0] != 42 {
				t.Errorf("the kernel sees %d", got[0])
			}
		})
	}
}

// Commands go to the descriptor they are for, and to no other.
func TestForeignDescriptors(t *testing.T) {
	fd := rawOpen(t, "probe")
	mem := mmap(t, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	s, err := rawShare(fd, abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: 4096, Access: abi.AccessRead})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	cmd := abi.ShareCmd{Size: abi.SizeofShareCmd}
	for _, request := range []uintptr{abi.IoctlDone, abi.IoctlKick, abi.IoctlStats} {
		if _, err := rawIoctl(fd, request, unsafe.Pointer(&cmd)); err != unix.ENOTTY {
			t.Errorf("%#x on the device: %v", request, err)
		}
	}
	for _, request := range []uintptr{abi.IoctlInfo, abi.IoctlShare, abi.IoctlControl, 0xd5ff, 0x5401} {
		if _, err := rawIoctl(s, request, unsafe.Pointer(&cmd)); err != unix.ENOTTY {
			t.Errorf("%#x on a share: %v", request, err)
		}
	}
	for name, bad := range map[string]abi.ShareCmd{
		"short": {Size: 8}, "flags": {Size: abi.SizeofShareCmd, Flags: 1}, "share": {Size: abi.SizeofShareCmd, Share: 1},
	} {
		for _, request := range []uintptr{abi.IoctlDone, abi.IoctlKick} {
			if _, err := rawIoctl(s, request, unsafe.Pointer(&bad)); err != unix.EINVAL {
				t.Errorf("%#x with bad %s: %v", request, name, err)
			}
		}
	}
	if _, err := unix.Read(s, make([]byte, 7)); err != unix.EINVAL {
		t.Errorf("short read: %v", err)
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := kshm.Open("/dev/null"); !errors.Is(err, kshm.ErrABI) {
		t.Errorf("Open of another device: %v", err)
	}
	if r, err := rawIoctl(s, abi.IoctlDone, unsafe.Pointer(&cmd)); r != abi.EndDone || err != nil {
		t.Errorf("DONE: %d, %v", r, err)
	}
	if r, err := rawIoctl(s, abi.IoctlDone, unsafe.Pointer(&cmd)); r != abi.EndDone || err != nil {
		t.Errorf("second DONE: %d, %v", r, err)
	}
	if _, err := rawIoctl(s, abi.IoctlKick, unsafe.Pointer(&cmd)); err != unix.ESHUTDOWN {
		t.Errorf("KICK after DONE: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	_, err := kshm.Open("no-such-driver")
	var op *kshm.OpError
	if !errors.Is(err, kshm.ErrNotExist) || !errors.As(err, &op) || op.Remedy == "" {
		t.Errorf("got %v", err)
	}
	st, err := os.Stat("/dev/kshm/probe")
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("node mode %v, %v", st.Mode(), err)
	}
}

func TestControlRefusals(t *testing.T) {
	dev := open(t, "probe")
	if _, err := dev.Control(t.Context(), 9999, nil, nil); !errors.Is(err, kshm.ErrNotSupported) {
		t.Errorf("unknown code: %v", err)
	}
	if _, err := open(t, "digest").Control(t.Context(), 1, nil, nil); !errors.Is(err, kshm.ErrNotSupported) {
		t.Errorf("a driver without codes: %v", err)
	}
	if _, err := dev.Control(t.Context(), probePeek, make([]byte, 65537), nil); !errors.Is(err, kshm.ErrRange) {
		t.Errorf("long input: %v", err)
	}
	fd := rawOpen(t, "probe")
	for name, c := range map[string]struct {
		c    abi.Control
		want error
	}{
		"flags":       {abi.Control{Size: abi.SizeofControl, Flags: 1}, unix.EINVAL},
		"reserved":    {abi.Control{Size: abi.SizeofControl, Reserved: 1}, unix.EINVAL},
		"short":       {abi.Control{Size: 8}, unix.EINVAL},
		"long input":  {abi.Control{Size: abi.SizeofControl, In_length: 65537}, unix.ERANGE},
		"long output": {abi.Control{Size: abi.SizeofControl, Out_length: 1 << 31}, unix.ERANGE},
		"bad input":   {abi.Control{Size: abi.SizeofControl, Code: probePeek, In: 4096, In_length: 32}, unix.EFAULT},
	} {
		if _, err := rawIoctl(fd, abi.IoctlControl, unsafe.Pointer(&c.c)); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
