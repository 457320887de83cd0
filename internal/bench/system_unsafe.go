// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// A trial runs at this priority if that is allowed, for urgentFor at most.
const (
	schedRR    = 2 | 0x40000000 // not for the threads that it starts
	schedOther = 0
	urgentFor  = 200 * time.Millisecond
)

// pin keeps this thread on one processor.
func pin(cpu int) error {
	var set [16]uint64
	set[cpu/64%16] |= 1 << (cpu % 64)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return fmt.Errorf("pin to processor %d: %w", cpu, errno)
	}
	return nil
}

// goFirst lets this thread run before everything else, if that is allowed,
// until the caller stops it or urgentFor has passed. A thread that spins for
// longer waits for a peer that gets no processor, perhaps because of its
// priority. (RLIMIT_RTTIME would kill the process instead.)
func goFirst() (stop func()) {
	thread := syscall.Gettid()
	if !prioritise(thread, schedRR, 1) {
		return func() {}
	}
	late := time.AfterFunc(urgentFor, func() { prioritise(thread, schedOther, 0) })
	return func() { late.Stop() }
}

// prioritise says whether the thread now has this policy and priority.
func prioritise(thread int, policy uintptr, priority int32) bool {
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(thread), policy, uintptr(unsafe.Pointer(&priority)))
	return errno == 0
}

// preempted counts how often the scheduler took the processor from this thread.
func preempted() uint64 {
	var use syscall.Rusage
	const thread = 1
	if err := syscall.Getrusage(thread, &use); err != nil {
		return 0
	}
	return uint64(use.Nivcsw)
}

// threadTime is how long this thread has had a processor.
func threadTime() time.Duration {
	const clock = 3 // CLOCK_THREAD_CPUTIME_ID
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano())
}

func mapShared(f *os.File, size int) ([]byte, error) {
	return syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

func unmap(mem []byte) { syscall.Munmap(mem) }

func socketPair() (r, w *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// reader and write1 are bare system calls on a blocking file: without the
// runtime's poller, as C would do it.
type reader struct{ *os.File }

func (r reader) Read(p []byte) (int, error) {
	n, err := syscall.Read(int(r.Fd()), p)
	if n == 0 && err == nil {
		return 0, os.ErrClosed
	}
	return n, err
}

func write1(f *os.File, p []byte) (int, error) { return syscall.Write(int(f.Fd()), p) }

// ioctl on a blocking file, with an argument that holds no pointers.
func ioctl[T any](f *os.File, code uintptr, arg *T) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), code, uintptr(unsafe.Pointer(arg))); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
