// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/internal/abi"
)

// faultCalls are the calls that TestFaults tries, with the least number of
// points on the way of each: where one allocates, none is a fault of the test.
var faultCalls = []faultCall{
	{"open", 3, openOf("probe")},
	{"INFO", 2, infoOf("probe")},
	{"SHARE of 4 KiB", 15, shareOf("probe", memory{size: 4 << 10})},
	{"SHARE of 64 KiB", 15, shareOf("digest", memory{size: 64 << 10})},
	{"SHARE of untouched memory", 15, shareOf("probe", memory{size: 64 << 10, untouched: true})},
	{"SHARE for reading", 15, shareOf("probe", memory{size: 64 << 10, access: abi.AccessRead})},
	{"SHARE of huge pages", 15, shareOf("probe", memory{size: 6 << 20, huge: true})},
	{"SHARE with rings", 15, shareOf("loop", memory{size: 256 << 10, rings: true})},
	{"KICK", 1, onShare("digest", abi.IoctlKick)},
	{"KICK of rings", 1, onShare("loop", abi.IoctlKick)},
	{"STATS", 2, onShare("probe", abi.IoctlStats)},
	{"WAIT", 0, waitOf("probe")}, // writes one word, which no fault reaches
	{"poll", 1, pollOf("probe")},
	{"CONTROL, small", 3, controlOf("probe", probeCounts, 4096)},
	{"CONTROL, large", 3, controlOf("probe", probeCounts, abi.ControlMax)},
	{"CONTROL from an interrupt", 3, notifyFrom("probe", inSoftirq)},
	{"DONE", 1, onShare("digest", abi.IoctlDone)},
	{"DONE of rings", 1, onShare("loop", abi.IoctlDone)},
	{"DONE of an ended share", 1, twiceDone("probe")},
	{"close of a share", 0, closeOf("probe", true)}, // close cannot fail, and allocates nothing
	{"close of a device", 0, closeOf("probe", false)},
}

func (f *faults) must(what string, errno unix.Errno) {
	if errno != 0 {
		f.Fatalf("%s, without a fault: %v", what, errno)
	}
}

// device opens a device without faults.
func (f *faults) device(name string) uintptr {
	fd, err := unix.Open("/dev/kshm/"+name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	return uintptr(fd)
}

func (f *faults) close(fd uintptr) {
	if err := unix.Close(int(fd)); err != nil {
		f.Errorf("close: %v", err)
	}
}

// rawCall makes an ioctl without a word to Go's scheduler, whose own calls would
// meet the fault.
func rawCall(fd, request uintptr, arg unsafe.Pointer) (uintptr, unix.Errno) {
	r, _, errno := unix.RawSyscall(unix.SYS_IOCTL, fd, request, uintptr(arg))
	return r, errno
}

func openOf(name string) func(f *faults) prepared {
	path, _ := unix.BytePtrFromString("/dev/kshm/" + name)
	return func(f *faults) prepared {
		at := unix.AT_FDCWD
		return prepared{
			call: func() (uintptr, unix.Errno) {
				r, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(path)), unix.O_RDWR|unix.O_CLOEXEC, 0, 0, 0)
				return r, errno
			},
			undo: func(fd uintptr, errno unix.Errno) {
				if errno == 0 {
					f.close(fd)
				}
			},
		}
	}
}

func infoOf(name string) func(f *faults) prepared {
	return func(f *faults) prepared {
		dev, info := f.device(name), &abi.Info{Size: abi.SizeofInfo}
		return prepared{
			call: func() (uintptr, unix.Errno) { return rawCall(dev, abi.IoctlInfo, unsafe.Pointer(info)) },
			undo: func(uintptr, unix.Errno) { f.close(dev) },
		}
	}
}

// memory is what is shared.
type memory struct {
	size      int
	access    uint32 // for writing, if 0
	untouched bool
	huge      bool
	rings     bool
}

func (f *faults) allocate(m memory) []byte {
	flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	if m.huge {
		flags |= unix.MAP_HUGETLB
	}
	mem, err := unix.Mmap(-1, 0, m.size, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		f.Fatalf("memory to share: %v", err)
	}
	for i := 0; i < len(mem) && !m.untouched; i += 4096 {
		mem[i] = 0xff // no driver takes it for an order
	}
	return mem
}

func (m memory) args(mem []byte) *abi.ShareArgs {
	a := &abi.ShareArgs{Size: abi.SizeofShareArgs, Address: addressOf(mem), Length: uint64(len(mem)), Cookie: 0xfa, Access: m.access}
	if m.access == 0 {
		a.Access = abi.AccessRead | abi.AccessWrite
	}
	if m.rings {
		const capacity = 16 << 10
		stride := uint64(capacity + abi.SizeofRingControl)
		a.Rings[0] = abi.RingGroup{Offset: 0, Capacity: capacity, Count: 2}
		a.Rings[1] = abi.RingGroup{Offset: 4 * stride, Capacity: capacity, Count: 2, Flags: abi.RingToUser}
	}
	return a
}

func shareOf(name string, m memory) func(f *faults) prepared {
	return func(f *faults) prepared {
		dev, mem := f.device(name), f.allocate(m)
		args := m.args(mem)
		return prepared{
			call: func() (uintptr, unix.Errno) { return rawCall(dev, abi.IoctlShare, unsafe.Pointer(args)) },
			undo: func(share uintptr, errno unix.Errno) {
				if errno == 0 {
					f.close(share)
				}
				f.close(dev)
				unix.Munmap(mem)
			},
		}
	}
}

// live is a share to do something with.
type live struct {
	dev, fd uintptr
	mem     []byte
}

func (f *faults) share(name string) *live {
	m := memory{size: 256 << 10, rings: name == "loop"}
	l := &live{dev: f.device(name), mem: f.allocate(m)}
	if name == "digest" {
		clear(l.mem[:4096])
	}
	var errno unix.Errno
	l.fd, errno = rawCall(l.dev, abi.IoctlShare, unsafe.Pointer(m.args(l.mem)))
	f.must("SHARE", errno)
	return l
}

func (l *live) end(f *faults) {
	f.close(l.fd)
	f.close(l.dev)
	unix.Munmap(l.mem)
}

// onShare is a call whose command begins as that of DONE does.
func onShare(name string, request uintptr) func(f *faults) prepared {
	return func(f *faults) prepared {
		l := f.share(name)
		command, answer := &abi.Stats{Size: abi.SizeofShareCmd}, uintptr(0)
		switch request {
		case abi.IoctlStats:
			command.Size = abi.SizeofStats
		case abi.IoctlDone:
			answer = abi.EndDone
		}
		return prepared{
			func() (uintptr, unix.Errno) { return rawCall(l.fd, request, unsafe.Pointer(command)) },
			func(uintptr, unix.Errno) { l.end(f) },
			answer,
		}
	}
}

func twiceDone(name string) func(f *faults) prepared {
	return func(f *faults) prepared {
		l := f.share(name)
		command := &abi.ShareCmd{Size: abi.SizeofShareCmd}
		_, errno := rawCall(l.fd, abi.IoctlDone, unsafe.Pointer(command))
		f.must("DONE", errno)
		return prepared{
			func() (uintptr, unix.Errno) { return rawCall(l.fd, abi.IoctlDone, unsafe.Pointer(command)) },
			func(uintptr, unix.Errno) { l.end(f) },
			abi.EndDone,
		}
	}
}

// waitOf reads an event that is there.
func waitOf(name string) func(f *faults) prepared {
	return func(f *faults) prepared {
		l := f.share(name)
		_, errno := rawCall(l.fd, abi.IoctlKick, unsafe.Pointer(&abi.ShareCmd{Size: abi.SizeofShareCmd}))
		f.must("KICK", errno)
		events := new(uint64)
		return prepared{
			call: func() (uintptr, unix.Errno) {
				r, _, errno := unix.RawSyscall(unix.SYS_READ, l.fd, uintptr(unsafe.Pointer(events)), 8)
				return r, errno
			},
			undo: func(uintptr, unix.Errno) { l.end(f) },
		}
	}
}

func pollOf(name string) func(f *faults) prepared {
	return func(f *faults) prepared {
		l := f.share(name)
		fds := &unix.PollFd{Fd: int32(l.fd), Events: unix.POLLIN}
		now := new(unix.Timespec)
		return prepared{
			call: func() (uintptr, unix.Errno) {
				r, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(fds)), 1, uintptr(unsafe.Pointer(now)), 0, 0, 0)
				return r, errno
			},
			undo: func(uintptr, unix.Errno) { l.end(f) },
		}
	}
}

// control makes a call with a code of the driver's own.
func control(f *faults, l *live, code int, command probeCommand, room int) prepared {
	in, err := binary.Append(nil, binary.NativeEndian, command)
	if err != nil {
		f.Fatal(err)
	}
	out := make([]byte, room)
	var pinner runtime.Pinner // their addresses travel as numbers
	pinner.Pin(&in[0])
	pinner.Pin(&out[0])
	c := &abi.Control{Size: abi.SizeofControl, Code: uint32(code), In: addressOf(in), In_length: uint32(len(in)), Out: addressOf(out), Out_length: uint32(room)}
	return prepared{
		call: func() (uintptr, unix.Errno) { return rawCall(l.dev, abi.IoctlControl, unsafe.Pointer(c)) },
		undo: func(uintptr, unix.Errno) {
			pinner.Unpin()
			l.end(f)
		},
	}
}

func controlOf(name string, code, room int) func(f *faults) prepared {
	return func(f *faults) prepared { return control(f, f.share(name), code, probeCommand{}, room) }
}

func notifyFrom(name string, context uint32) func(f *faults) prepared {
	return func(f *faults) prepared {
		return control(f, f.share(name), probeNotify, probeCommand{Cookie: 0xfa, Value: 1, Context: context}, 8)
	}
}

// closeOf closes the share, or the device with its share still live.
func closeOf(name string, share bool) func(f *faults) prepared {
	return func(f *faults) prepared {
		l := f.share(name)
		first, second := l.fd, l.dev
		if !share {
			first, second = second, first
		}
		return prepared{
			call: func() (uintptr, unix.Errno) {
				r, _, errno := unix.RawSyscall(unix.SYS_CLOSE, first, 0, 0)
				return r, errno
			},
			undo: func(uintptr, unix.Errno) {
				f.close(second)
				unix.Munmap(l.mem)
			},
		}
	}
}
