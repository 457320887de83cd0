// SPDX-License-Identifier: MIT

//go:build windows && kernel

package windows

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"kshm/internal/abi"
	"kshm/internal/sys"
)

// The same rows as driver/test/nt/shim/codes.c has, as far as a program can
// make them and Wine lets the driver see them.

var ntDeviceIoControlFile = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtDeviceIoControlFile")

// theEvent is that of all requests of ioctl: made anew for each, it would get
// the number of a handle that has been closed.
var theEvent = sync.OnceValues(func() (windows.Handle, error) { return windows.CreateEvent(nil, 1, 0, nil) })

// ioctl makes a request below package kshm and returns how it was answered; one
// that pends is cancelled.
func ioctl(t testing.TB, h windows.Handle, code uint32, in, out []byte) windows.NTStatus {
	t.Helper()
	event, err := theEvent()
	if err != nil {
		t.Fatal(err)
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	o := new(windows.Overlapped)
	pin.Pin(o)
	if len(in) > 0 {
		pin.Pin(&in[0])
	}
	if len(out) > 0 {
		pin.Pin(&out[0])
	}
	answer, _, _ := ntDeviceIoControlFile.Call(uintptr(h), uintptr(event), 0, 0, uintptr(unsafe.Pointer(o)), uintptr(code),
		uintptr(unsafe.Pointer(unsafe.SliceData(in))), uintptr(len(in)),
		uintptr(unsafe.Pointer(unsafe.SliceData(out))), uintptr(len(out)))
	status := windows.NTStatus(uint32(answer))
	if status == windows.STATUS_PENDING {
		windows.CancelIoEx(h, o) // fails where it completes at this moment
		if n, err := windows.WaitForSingleObject(event, 60_000); n != windows.WAIT_OBJECT_0 {
			t.Fatalf("code %#x pends, and does not end: %#x, %v", code, n, err)
		}
	}
	return status
}

// openAs opens digest with an access.
func openAs(t testing.TB, access uint32) windows.Handle {
	t.Helper()
	name, err := windows.UTF16PtrFromString(`\\.\kshm_digest`)
	if err != nil {
		t.Fatal(err)
	}
	h, err := windows.CreateFile(name, access, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_OVERLAPPED, 0)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// code is a control code, with the size of its command and of its answer.
type code struct {
	name       string
	number     uint32
	size, room int
	access     uint32
	good       windows.NTStatus
}

const stats10 = abi.SizeofStats - 2*abi.SizeofRingCounters

var codes = []code{
	{"INFO", abi.CtlInfo, abi.SizeofInfo, abi.SizeofInfo, 0, 0},
	{"SHARE", abi.CtlShare, abi.SizeofShareArgs, 0, 0, windows.STATUS_PENDING},
	{"SHARE_READ", abi.CtlShareRead, abi.SizeofShareArgs, 0, 0, windows.STATUS_NOT_SUPPORTED}, // digest writes
	{"STATS", abi.CtlStats, stats10, stats10, windows.GENERIC_READ, 0},
	{"WAIT", abi.CtlWait, abi.SizeofWait, abi.SizeofWait, windows.GENERIC_READ, windows.STATUS_PENDING},
	{"KICK", abi.CtlKick, abi.SizeofShareCmd, 0, windows.GENERIC_WRITE, 0},
	{"DONE", abi.CtlDone, abi.SizeofShareCmd, 4, 0, 0},
}

func (c *code) isShare() bool { return c.number&3 != 0 }

// bench is an open device with share 1, and memory for another.
type bench struct {
	t      *testing.T
	h      windows.Handle
	memory []byte
	rows   int
}

// command is a good one of the code, with its buffers.
func (b *bench) command(c *code) (in, out []byte) {
	in = make([]byte, c.size)
	binary.LittleEndian.PutUint32(in, uint32(c.size))
	if c.isShare() {
		args := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: uint64(uintptr(unsafe.Pointer(&b.memory[0]))),
			Length: uint64(len(b.memory)), Cookie: uint64(c.number), Access: abi.AccessRead}
		if c.number == abi.CtlShare {
			args.Access |= abi.AccessWrite
		}
		binary.Encode(in, binary.LittleEndian, args)
		return in, b.memory
	}
	if c.number != abi.CtlInfo {
		binary.LittleEndian.PutUint64(in[8:], 1)
	}
	if c.number == abi.CtlWait {
		binary.LittleEndian.PutUint64(in[16:], 1<<63)
	}
	return in, make([]byte, c.room)
}

// state is what refusals leave as it is.
func (b *bench) state() string {
	stats := make([]byte, abi.SizeofStats)
	binary.LittleEndian.PutUint32(stats, abi.SizeofStats)
	binary.LittleEndian.PutUint64(stats[8:], 1)
	status := ioctl(b.t, b.h, abi.CtlStats, stats, stats)
	return fmt.Sprintf("%x %x", uint32(status), stats)
}

// refuse makes a request that must be refused at once.
func (b *bench) refuse(c *code, h windows.Handle, in, out []byte, want windows.NTStatus, what string) {
	b.t.Helper()
	b.rows++
	if got := ioctl(b.t, h, c.number, in, out); got != want {
		b.t.Errorf("%s, %s: %v (%#x), want %v", c.name, what, got, uint32(got), want)
	}
}

// refuseClosed closes the handle and makes a request of it. The runtime may have
// given its number to an event of a thread's meanwhile: then another one is
// tried.
func (b *bench) refuseClosed(c *code, h windows.Handle, in, out []byte) {
	b.t.Helper()
	b.rows++
	got := windows.NTStatus(windows.STATUS_OBJECT_TYPE_MISMATCH)
	for try := 0; try < 100 && got == windows.STATUS_OBJECT_TYPE_MISMATCH; try++ {
		if err := windows.CloseHandle(h); err != nil {
			b.t.Fatal(err)
		}
		got = ioctl(b.t, h, c.number, in, out)
		h = openAs(b.t, 0)
	}
	windows.CloseHandle(h)
	if got != windows.STATUS_INVALID_HANDLE {
		b.t.Errorf("%s, closed handle: %v (%#x)", c.name, got, uint32(got))
	}
}

// unchanged runs refusals, which must leave everything as it was. A request is
// slow in Wine, so it looks after many of them.
func (b *bench) unchanged(c *code, refusals func(*code)) {
	b.t.Helper()
	before := b.state()
	refusals(c)
	if after := b.state(); after != before {
		b.t.Errorf("%s: share 1 was\n%s and is\n%s", c.name, before, after)
	}
	if !c.isShare() {
		return
	}
	cmd := make([]byte, abi.SizeofShareCmd)
	binary.LittleEndian.PutUint32(cmd, abi.SizeofShareCmd)
	binary.LittleEndian.PutUint64(cmd[8:], uint64(c.number))
	if got := ioctl(b.t, b.h, abi.CtlKick, cmd, nil); got != windows.STATUS_NOT_FOUND {
		b.t.Fatalf("%s: there is a share: %v", c.name, got)
	}
}

// shape is what is wrong with the command and its buffers.
func (b *bench) shape(c *code) {
	const mismatch = windows.STATUS_INFO_LENGTH_MISMATCH
	_, out := b.command(c)
	b.refuse(c, b.h, nil, out, mismatch, "in-buffer absent")
	if !c.isShare() {
		b.refuse(c, b.h, nil, nil, mismatch, "no buffer at all")
	}
	for n := 1; n < c.size; n += 2 {
		in, out := b.command(c)
		b.refuse(c, b.h, in[:n], out, mismatch, "in-buffer short")
	}
	for _, n := range []int{0, 4, c.size - 8, c.size + 8, -1} {
		in, out := b.command(c)
		binary.LittleEndian.PutUint32(in, uint32(n))
		b.refuse(c, b.h, in, out, mismatch, fmt.Sprint("size says ", n))
	}
	for bit := range 32 {
		in, out := b.command(c)
		binary.LittleEndian.PutUint32(in[4:], 1<<bit)
		b.refuse(c, b.h, in, out, windows.STATUS_INVALID_PARAMETER, "unknown flag")
	}
	for n := range 16 {
		in, out := b.command(c)
		in = append(in, make([]byte, 16)...)
		binary.LittleEndian.PutUint32(in, uint32(len(in)))
		in[c.size+n] = 1
		b.refuse(c, b.h, in, out, windows.STATUS_INVALID_PARAMETER, "unknown field")
	}
	if !c.isShare() {
		in, out := b.command(c)
		b.refuse(c, b.h, append(in, 0, 0, 0, 0, 0, 0, 0, 0), out, mismatch, "in-buffer long")
	}
	for n := 1; n < c.room; n += 2 {
		in, out := b.command(c)
		b.refuse(c, b.h, in, out[:n], windows.STATUS_BUFFER_TOO_SMALL, "out-buffer short")
	}
	if c.room > 0 && c.number != abi.CtlDone {
		in, _ := b.command(c)
		b.refuse(c, b.h, in, nil, windows.STATUS_BUFFER_TOO_SMALL, "out-buffer absent")
	}
}

// handles are others than the one that has the share.
func (b *bench) handles(c *code) {
	for _, access := range []uint32{0, windows.GENERIC_READ, windows.GENERIC_WRITE, windows.GENERIC_READ | windows.GENERIC_WRITE} {
		h := openAs(b.t, access)
		in, out := b.command(c)
		switch {
		case access&c.access != c.access:
			b.refuse(c, h, in, out, windows.STATUS_ACCESS_DENIED, "wrong access")
		case !c.isShare() && c.number != abi.CtlInfo:
			b.refuse(c, h, in, out, windows.STATUS_NOT_FOUND, "share of another handle")
		}
		b.refuseClosed(c, h, in, out)
	}
	if !c.isShare() && c.number != abi.CtlInfo {
		in, out := b.command(c)
		in[8] = 99
		b.refuse(c, b.h, in, out, windows.STATUS_NOT_FOUND, "no such share")
	}
}

// arguments are those of SHARE.
func (b *bench) arguments(c *code) {
	for what, r := range map[string]struct {
		change func(*abi.ShareArgs)
		want   windows.NTStatus
	}{
		"access of the other code": {func(a *abi.ShareArgs) { a.Access ^= abi.AccessWrite }, windows.STATUS_INVALID_PARAMETER},
		"unknown access":           {func(a *abi.ShareArgs) { a.Access |= 4 }, windows.STATUS_INVALID_PARAMETER},
		"reserved":                 {func(a *abi.ShareArgs) { a.Reserved = 1 }, windows.STATUS_INVALID_PARAMETER},
		"rings":                    {func(a *abi.ShareArgs) { a.Rings[3].Count = 1 }, windows.STATUS_NOT_SUPPORTED},
		"length differs":           {func(a *abi.ShareArgs) { a.Length-- }, windows.STATUS_INVALID_PARAMETER},
		"length 0":                 {func(a *abi.ShareArgs) { a.Length = 0 }, windows.STATUS_INVALID_PARAMETER},
		"length beyond 32 bits":    {func(a *abi.ShareArgs) { a.Length |= 1 << 32 }, windows.STATUS_INVALID_PARAMETER},
	} {
		in, out := b.command(c)
		var args abi.ShareArgs
		binary.Decode(in, binary.LittleEndian, &args)
		r.change(&args)
		binary.Encode(in, binary.LittleEndian, args)
		b.refuse(c, b.h, in, out, r.want, what)
	}
	in, _ := b.command(c)
	b.refuse(c, b.h, in, nil, windows.STATUS_INVALID_PARAMETER, "memory absent")
}

// taken are requests that look wrong and are not.
func (b *bench) taken(c *code) {
	in, out := b.command(c)
	longer := append(in, make([]byte, 64)...)
	binary.LittleEndian.PutUint32(longer, uint32(len(longer)))
	odd := append([]byte{0}, in...)[1:]
	for what, in := range map[string][]byte{"as it should be": in, "longer, the rest zero": longer, "at an odd address": odd} {
		b.rows++
		if got := ioctl(b.t, b.h, c.number, in, out); got != c.good {
			b.t.Errorf("%s, %s: %v (%#x), want %v", c.name, what, got, uint32(got), c.good)
		}
	}
	if c.room > 0 {
		long := make([]byte, 4096)
		if got := ioctl(b.t, b.h, c.number, in, long); got != c.good {
			b.t.Errorf("%s, out-buffer long: %v (%#x), want %v", c.name, got, uint32(got), c.good)
		}
		for n, v := range long[c.room:] {
			if v != 0 {
				b.t.Errorf("%s wrote byte %d of an answer of %d", c.name, c.room+n, c.room)
			}
		}
	}
}

// TestEveryCode gives every code of the kit every kind of wrong argument: the
// documented status, and nothing changed.
func TestEveryCode(t *testing.T) {
	h := openAs(t, windows.GENERIC_READ|windows.GENERIC_WRITE)
	defer windows.CloseHandle(h)
	first, err := sys.Alloc(16<<10, false)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := sys.Alloc(16<<10, false)
	if err != nil {
		t.Fatal(err)
	}
	end := shareRaw(t, h, first)
	b := &bench{t: t, h: h, memory: memory}
	for i := range codes {
		c := &codes[i]
		b.unchanged(c, b.shape)
		b.unchanged(c, b.handles)
		if c.isShare() {
			b.unchanged(c, b.arguments)
		}
		b.taken(c) // DONE is the last of them, and may be repeated
	}
	b.unchanged(&code{name: "STOP", number: abi.CtlStop}, b.stop)
	end()
	t.Log(b.rows, "rows")
}

// stop is STOP, which takes no command; here it must not come to it.
func (b *bench) stop(c *code) {
	for n := 1; n <= 16; n++ {
		b.refuse(c, b.h, make([]byte, n), nil, windows.STATUS_INFO_LENGTH_MISMATCH, "with an in-buffer")
	}
	for _, access := range []uint32{0, windows.GENERIC_READ, windows.GENERIC_WRITE} {
		h := openAs(b.t, access)
		b.refuse(c, h, nil, nil, windows.STATUS_ACCESS_DENIED, "wrong access")
		b.refuseClosed(c, h, nil, nil)
	}
	for method := range uint32(4) {
		c := &code{name: "unknown", number: 0x222400 | method}
		if method != 3 { // whose buffers Wine does not hand to a driver
			b.refuse(c, b.h, nil, nil, windows.STATUS_INVALID_DEVICE_REQUEST, fmt.Sprint("code of method ", method))
		}
	}
}

// shareRaw makes share 1 of a handle, which pends until end.
func shareRaw(t *testing.T, h windows.Handle, mem []byte) (end func()) {
	args := abi.ShareArgs{Size: abi.SizeofShareArgs, Address: uint64(uintptr(unsafe.Pointer(&mem[0]))), Length: uint64(len(mem)),
		Cookie: 1, Access: abi.AccessRead | abi.AccessWrite}
	// Memory that is not the collector's: the request outlives the call.
	block, err := sys.Alloc(4096, false)
	if err != nil {
		t.Fatal(err)
	}
	o, in := (*windows.Overlapped)(unsafe.Pointer(&block[0])), block[1024:1024+abi.SizeofShareArgs]
	binary.Encode(in, binary.LittleEndian, args)
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ready, over := make(chan windows.NTStatus), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the request is this thread's
		defer runtime.UnlockOSThread()
		answer, _, _ := ntDeviceIoControlFile.Call(uintptr(h), uintptr(event), 0, 0, uintptr(unsafe.Pointer(o)), abi.CtlShare,
			uintptr(unsafe.Pointer(&in[0])), uintptr(len(in)), uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)))
		ready <- windows.NTStatus(uint32(answer))
		<-over
	}()
	if status := <-ready; status != windows.STATUS_PENDING {
		t.Fatalf("SHARE: %v", status)
	}
	return func() {
		n, err := windows.WaitForSingleObject(event, 60_000)
		close(over)
		windows.CloseHandle(event)
		if n != windows.WAIT_OBJECT_0 {
			t.Fatalf("the share does not end: %#x, %v", n, err)
		}
	}
}
