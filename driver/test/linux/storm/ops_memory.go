// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
	"kshm/internal/abi"
)

const (
	pageSize = 4096
	// Areas lie where neither Go nor the kernel puts anything by itself.
	areaBase   = 0x2000_0000_0000
	areaStride = 8 << 20
	hugeSize   = 2 << 20
)

func areaAt(area uint32) uintptr { return areaBase + uintptr(area)*areaStride }

func pageAt(area, page uint32) uintptr { return areaAt(area) + uintptr(page)*pageSize }

// reserveAreas takes the areas' addresses, and gives each memory to begin with.
func reserveAreas() error {
	_, err := raw6(unix.SYS_MMAP, areaBase, script.Areas*areaStride, unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED|unix.MAP_NORESERVE, ^uintptr(0), 0)
	for area := uint32(0); area < script.Areas && err == 0; area++ {
		_, err = raw(unix.SYS_MPROTECT, areaAt(area), script.Pages*pageSize, unix.PROT_READ|unix.PROT_WRITE)
	}
	if err != 0 {
		return err
	}
	return nil
}

func (l *lane) doMap(a *[script.MaxArgs]uint32) syscall.Errno {
	const rw = unix.PROT_READ | unix.PROT_WRITE
	prot, flags, fd := uintptr(rw), uintptr(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS), ^uintptr(0)
	length := uintptr(a[1]+1) * pageSize
	switch a[2] {
	case 0, 1, 2: // as it is
	case 3:
		flags = unix.MAP_SHARED | unix.MAP_ANONYMOUS
	case 4:
		flags, fd = unix.MAP_SHARED, uintptr(l.file)
	case 5:
		flags, fd = unix.MAP_PRIVATE, uintptr(l.file)
	case 6: // a file's: cannot stay pinned until it has been written to
		flags, fd = unix.MAP_PRIVATE, uintptr(l.exe)
	case 7:
		flags, length = flags|unix.MAP_HUGETLB, hugeSize
		if a[1]%4 != 0 { // there are few of those
			prot, flags, length = unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, uintptr(a[1]+1)*pageSize
		}
	}
	_, err := raw6(unix.SYS_MMAP, areaAt(a[0]), length, prot, flags|unix.MAP_FIXED, fd, 0)
	return err
}

func (l *lane) doUnmap(a *[script.MaxArgs]uint32) syscall.Errno {
	_, err := raw(unix.SYS_MUNMAP, pageAt(a[0], a[1]), uintptr(a[2]+1)*pageSize, 0)
	return err
}

func (l *lane) doProtect(a *[script.MaxArgs]uint32) syscall.Errno {
	prot := [4]uintptr{unix.PROT_READ | unix.PROT_WRITE, unix.PROT_READ | unix.PROT_WRITE, unix.PROT_READ, unix.PROT_NONE}
	_, err := raw(unix.SYS_MPROTECT, pageAt(a[0], a[1]), uintptr(a[2]+1)*pageSize, prot[a[3]])
	return err
}

var advices = [16]uintptr{unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_DONTFORK,
	unix.MADV_DOFORK, unix.MADV_COLD, unix.MADV_PAGEOUT, unix.MADV_REMOVE, unix.MADV_POPULATE_WRITE, unix.MADV_POPULATE_READ,
	unix.MADV_COLLAPSE, unix.MADV_WIPEONFORK, unix.MADV_KEEPONFORK, unix.MADV_MERGEABLE, unix.MADV_UNMERGEABLE}

func (l *lane) doAdvise(a *[script.MaxArgs]uint32) syscall.Errno {
	_, err := raw(unix.SYS_MADVISE, pageAt(a[0], a[1]), uintptr(a[2]+1)*pageSize, advices[a[3]])
	return err
}

func (l *lane) doRemap(a *[script.MaxArgs]uint32) syscall.Errno {
	length := uintptr(a[2]+1) * pageSize
	_, err := raw6(unix.SYS_MREMAP, areaAt(a[0]), length, length, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, areaAt(a[1]), 0)
	return err
}

// doScribble overwrites words with what the noise holds. Memory may be gone at
// any time, so the kernel does the writing, and answers EFAULT.
func (l *lane) doScribble(a *[script.MaxArgs]uint32) syscall.Errno {
	_, err := raw6(unix.SYS_PREAD64, noiseFD, areaAt(a[0])+uintptr(a[1])*8, uintptr(a[2]+1)*8, uintptr(a[3])*8, 0, 0)
	return err
}

// doTruncate makes the file behind some areas shorter, whole again or hollow.
func (l *lane) doTruncate(a *[script.MaxArgs]uint32) syscall.Errno {
	const holes = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	var err syscall.Errno
	switch a[2] {
	case 0:
		_, err = raw(unix.SYS_FTRUNCATE, uintptr(l.file), uintptr(a[0])*pageSize, 0)
	case 1:
		_, err = raw(unix.SYS_FTRUNCATE, uintptr(l.file), script.Pages*pageSize, 0)
	case 2:
		_, err = raw6(unix.SYS_FALLOCATE, uintptr(l.file), holes, uintptr(a[0])*pageSize, uintptr(a[1]+1)*pageSize, 0, 0)
	}
	return err
}

// put copies n bytes of the buffer to memory that may be gone.
func (l *lane) put(to uintptr, n int) syscall.Errno {
	at := uintptr(l.place.Lane) * pageSize
	if _, err := raw6(unix.SYS_PWRITE64, uintptr(l.scratch), uintptr(unsafe.Pointer(&l.buffer)), uintptr(n), at, 0, 0); err != 0 {
		return err
	}
	_, err := raw6(unix.SYS_PREAD64, uintptr(l.scratch), to, uintptr(n), at, 0, 0)
	return err
}

func (l *lane) putWord(to uintptr, word uint64) syscall.Errno {
	binary.NativeEndian.PutUint64(l.buffer[:], word)
	return l.put(to, 8)
}

// word reads a word of memory that may be gone.
func (l *lane) word(from uintptr) (uint64, syscall.Errno) {
	at := uintptr(l.place.Lane) * pageSize
	if _, err := raw6(unix.SYS_PWRITE64, uintptr(l.scratch), from, 8, at, 0, 0); err != 0 {
		return 0, err
	}
	_, err := raw6(unix.SYS_PREAD64, uintptr(l.scratch), uintptr(unsafe.Pointer(&l.buffer)), 8, at, 0, 0)
	return binary.NativeEndian.Uint64(l.buffer[:]), err
}

// Words of a ring's control pages, and where the rings of rings() lie.
const (
	producerAt = 128
	consumerAt = 384
	wakeupAt   = 128 // after a position
	secondRing = abi.RingControlSize + ringCapacity
)

// doFeed plays the program's side by the rules: a request to digest, records
// into the first ring, taking what is in the second one, or falling asleep.
func (l *lane) doFeed(a *[script.MaxArgs]uint32) syscall.Errno {
	base := pageAt(a[0], a[1]/3)
	var err syscall.Errno
	switch a[2] {
	case 0:
		err = l.request(base, a[3])
	case 1:
		err = l.produce(base, uint64(a[3]+1))
	case 2:
		var position uint64
		if position, err = l.word(base + secondRing + producerAt); err == 0 {
			err = l.putWord(base+secondRing+consumerAt, position)
		}
	case 3:
		err = l.putWord(base+secondRing+consumerAt+wakeupAt, uint64(a[3]))
	}
	l.kick(a[4])
	return err
}

// request asks digest for a piece of a message.
func (l *lane) request(base uintptr, n uint32) syscall.Errno {
	clear(l.buffer[:16])
	binary.NativeEndian.PutUint64(l.buffer[:], uint64(n)+1)
	binary.NativeEndian.PutUint32(l.buffer[8:], n*32)
	binary.NativeEndian.PutUint32(l.buffer[12:], n%4)
	return l.put(base, 16)
}

// produce adds records to the ring at base, as far as they fit without a wrap.
func (l *lane) produce(base uintptr, n uint64) syscall.Errno {
	position, err := l.word(base + producerAt)
	if err != 0 {
		return err
	}
	at := position % ringCapacity &^ 7
	n = min(n, (ringCapacity-at)/16)
	for i := range n {
		binary.NativeEndian.PutUint64(l.buffer[i*16:], abi.RecordData<<32|8)
		binary.NativeEndian.PutUint64(l.buffer[i*16+8:], i)
	}
	if err := l.put(base+abi.RingControlSize+uintptr(at), int(n)*16); err != 0 {
		return err
	}
	return l.putWord(base+producerAt, position+n*16)
}
