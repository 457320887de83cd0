// SPDX-License-Identifier: MIT

package sys

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BPFProgram is what BPF_PROG_LOAD takes, as far as this project uses it.
type BPFProgram struct {
	Type, AttachType, Flags uint32
	Name, License           string
	Instructions            []byte // 8 bytes each
	BTF                     int    // descriptor of its types; 0: none
	FuncInfo, LineInfo      []byte
	FuncInfoSize            uint32 // bytes per entry
	LineInfoSize            uint32 // bytes per entry
	AttachBTFID             uint32
}

// progLoadAttr is that part of union bpf_attr.
type progLoadAttr struct {
	progType, insnCount          uint32
	insns, license               uint64
	logLevel, logSize            uint32
	logBuf                       uint64
	kernVersion, flags           uint32
	name                         [unix.BPF_OBJ_NAME_LEN]byte
	ifindex, expectedAttachType  uint32
	btfFD, funcInfoSize          uint32
	funcInfo                     uint64
	funcInfoCount, lineInfoSize  uint32
	lineInfo                     uint64
	lineInfoCount, attachBTFID   uint32
	attachBTFObjFD, coreReloSize uint32
}

// LoadBPF loads a program and returns its descriptor. When the verifier
// refuses it, log is what it said, cut where it exceeds 16 MiB.
func LoadBPF(p *BPFProgram) (fd int, log string, err error) {
	if fd, _, err = loadBPF(p, nil); err == nil {
		return fd, "", nil
	}
	for size := 1 << 20; size <= 16<<20; size *= 4 {
		again, log, err := loadBPF(p, make([]byte, size))
		if err == nil {
			return again, "", nil
		}
		if !errors.Is(err, unix.ENOSPC) || size == 16<<20 {
			return -1, log, err
		}
	}
	return -1, "", err
}

func loadBPF(p *BPFProgram, log []byte) (int, string, error) {
	license, err := unix.BytePtrFromString(p.License)
	if err != nil {
		return -1, "", err
	}
	a := progLoadAttr{
		progType: p.Type, insnCount: uint32(len(p.Instructions) / 8),
		insns: address(p.Instructions), license: uint64(uintptr(unsafe.Pointer(license))),
		flags: p.Flags, expectedAttachType: p.AttachType, btfFD: uint32(p.BTF), attachBTFID: p.AttachBTFID,
		funcInfoSize: p.FuncInfoSize, lineInfoSize: p.LineInfoSize,
	}
	copy(a.name[:len(a.name)-1], p.Name)
	if len(p.FuncInfo) > 0 {
		a.funcInfo, a.funcInfoCount = address(p.FuncInfo), uint32(len(p.FuncInfo))/p.FuncInfoSize
	}
	if len(p.LineInfo) > 0 {
		a.lineInfo, a.lineInfoCount = address(p.LineInfo), uint32(len(p.LineInfo))/p.LineInfoSize
	}
	if len(log) > 0 {
		a.logLevel, a.logSize, a.logBuf = 1, uint32(len(log)), address(log)
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a))
	runtime.KeepAlive(p)
	runtime.KeepAlive(license)
	text, _, _ := bytes.Cut(log, []byte{0})
	if errno != 0 {
		return -1, string(text), errno
	}
	return int(fd), "", nil
}

// MapAt maps length bytes of a descriptor at an address, of which nothing may
// be in use, to read and write.
func MapAt(fd int, at uint64, length int) ([]byte, error) {
	where := uintptr(at)
	p, err := unix.MmapPtr(fd, 0, *(*unsafe.Pointer)(unsafe.Pointer(&where)), uintptr(length), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_FIXED_NOREPLACE)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes at %#x: %w", length, at, err)
	}
	return unsafe.Slice((*byte)(p), length), nil
}

// UnmapAt undoes MapAt.
func UnmapAt(mem []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
}

// Map maps length bytes of a descriptor from offset on.
func Map(fd int, offset int64, length int, writable bool) ([]byte, error) {
	prot := unix.PROT_READ
	if writable {
		prot |= unix.PROT_WRITE
	}
	return unix.Mmap(fd, offset, length, prot, unix.MAP_SHARED)
}

// Unmap undoes Map.
func Unmap(mem []byte) error { return unix.Munmap(mem) }

// AddressOf is where mem lies; 0 if it is empty.
func AddressOf(mem []byte) uint64 { return address(mem) }

// GracePeriod waits until every program that a hook of the kernel had started
// before the call has returned.
func GracePeriod() error {
	const global = 1 // MEMBARRIER_CMD_GLOBAL: the kernel's synchronize_rcu()
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
	if errno != 0 {
		return fmt.Errorf("membarrier: %w", errno)
	}
	return nil
}

// Dup returns another descriptor of the same file, which programs that are
// started do not get.
func Dup(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// PollableDup returns one that does not block.
func PollableDup(fd int) (int, error) {
	dup, err := Dup(fd)
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(dup, true); err != nil {
		unix.Close(dup)
		return -1, err
	}
	return dup, nil
}

// runAttr is the part of union bpf_attr that BPF_PROG_RUN takes.
type runAttr struct {
	prog, result             uint32
	dataSizeIn, dataSizeOut  uint32
	dataIn, dataOut          uint64
	repeat, duration         uint32
	contextIn, contextOut    uint32
	context, contextOutValue uint64
	flags, cpu               uint32
	batch, _                 uint32
}

// RunBPF runs a program of type syscall on the caller's CPU and returns its
// result. The program reads and writes context, which may be nil. Whoever holds
// the descriptor may do so.
func RunBPF(fd int, context []byte) (result uint32, err error) {
	a := runAttr{prog: uint32(fd), contextIn: uint32(len(context)), context: address(context)}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a))
	runtime.KeepAlive(context)
	if errno != 0 {
		return 0, fmt.Errorf("run program: %w", errno)
	}
	return a.result, nil
}
