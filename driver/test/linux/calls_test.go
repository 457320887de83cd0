// SPDX-License-Identifier: MIT

//go:build kernel

package linux

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"kshm/ring"
)

var manyRecords = flag.Uint64("records", 1_000_000, "records of the longer of two runs whose system calls are compared")

// callCounter counts the system calls of the thread that made it, by the
// kernel's own trace of them and not by anything of ours. Left out is what the
// Go runtime does when it takes a thread from a goroutine that has run for long.
type callCounter int

var schedulers = []int{unix.SYS_FUTEX, futexTime64, unix.SYS_RT_SIGRETURN, unix.SYS_TGKILL, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD}

const futexTime64 = 422 // on 32-bit systems; nobody's number on others

func countCalls() (callCounter, error) {
	id, err := os.ReadFile("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id")
	if err != nil {
		return -1, err
	}
	config, err := strconv.ParseUint(strings.TrimSpace(string(id)), 10, 64)
	if err != nil {
		return -1, err
	}
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: config, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
	fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("perf_event_open: %w", err)
	}
	var filter []string
	for _, call := range schedulers {
		filter = append(filter, fmt.Sprintf("id != %d", call))
	}
	text, err := unix.BytePtrFromString(strings.Join(filter, " && "))
	if err == nil {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.PERF_EVENT_IOC_SET_FILTER, uintptr(unsafe.Pointer(text)))
		if errno != 0 {
			err = fmt.Errorf("filter of the trace: %w", errno)
		}
	}
	return callCounter(fd), err
}

// now returns the calls so far, this one included.
func (c callCounter) now() (uint64, error) {
	var n [8]byte
	_, err := unix.Read(int(c), n[:])
	return binary.NativeEndian.Uint64(n[:]), err
}

// callsOf counts the calls that f makes on a thread of its own.
func callsOf(cpu int, f func() error) (calls uint64, err error) {
	err = onCPU(cpu, func() error {
		c, err := countCalls()
		if err != nil {
			return err
		}
		defer unix.Close(int(c))
		before, err := c.now()
		if err != nil {
			return err
		}
		if err := f(); err != nil {
			return err
		}
		after, err := c.now()
		calls = after - before - 1
		return err
	})
	return calls, err
}

// The counter counts: what follows proves nothing otherwise.
func TestCallsAreCounted(t *testing.T) {
	for _, want := range []int{0, 1, 1000} {
		got, err := callsOf(0, func() error {
			for range want {
				unix.Getppid()
			}
			return nil
		})
		if err != nil || got != uint64(want) {
			t.Errorf("%d calls of getppid count as %d (%v)", want, got, err)
		}
	}
}

// While nobody sleeps there is no system call, on either side, however long it
// goes on: the program's thread makes as many for 100,000 records as for more.
func TestNoSystemCallInSteadyState(t *testing.T) {
	const few = 100_000
	for name, run := range map[string]func(*testing.T, uint64) (int64, error){"ToUser": callsToUser, "ToKernel": callsToKernel} {
		t.Run(name, func(t *testing.T) {
			short, err := run(t, few)
			if err != nil {
				t.Fatal(err)
			}
			long, err := run(t, *manyRecords)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d calls for %d records, %d for %d", short, few, long, *manyRecords)
			if short != long {
				t.Errorf("%d records took %d system calls, and %d took %d", few, short, *manyRecords, long)
			}
		})
	}
}

// callsToUser counts the calls of a thread that consumes, which looks again
// and again when there is nothing. Of the driver it counts events.
func callsToUser(t *testing.T, records uint64) (int64, error) {
	dev := open(t, "loop")
	var l ring.Layout
	g := add(t, &l, ring.ToUser, 1, 1<<20)
	s, mem := ringShare(t, dev, &l, records)
	c := consumer(t, mem, g, 0, s)
	result := make(chan error)
	go func() {
		for left := records; left > 0; { // a call ends after LOOP_SECONDS
			r, err := produce(dev, 0, loopCommand{Cookie: records, Records: left, Size: 64, Batch: 32, Flags: loopWait})
			if err != nil {
				result <- err
				return
			}
			left -= r.Produced
		}
		result <- nil
	}()
	calls, err := callsOf(1, func() error {
		for n := uint64(0); n < records; {
			if _, ok := c.Next(); ok {
				c.Release()
				n++
			} else if err := c.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if other := <-result; err == nil {
		err = other
	}
	st, serr := s.Stats()
	if err == nil {
		err = serr
	}
	return int64(calls + st.Kicks + st.Events), err
}

// callsToKernel counts the calls of a thread that produces. The driver sleeps
// if this machine gives the program no time for a while; the call that wakes it
// is no call of the steady state. It must be one for each such wake.
func callsToKernel(t *testing.T, records uint64) (int64, error) {
	setParameter(t, "kshm_loop", "linger_us", 1000) // the driver looks for a while before it sleeps
	dev := open(t, "loop")
	var l ring.Layout
	g := add(t, &l, ring.ToKernel, 1, 1<<20)
	s, mem := ringShare(t, dev, &l, records)
	p := producer(t, mem, g, 0, s)
	calls, err := callsOf(0, func() error {
		for n := uint64(0); n < records; {
			_, err := p.Reserve(64)
			switch err {
			case nil:
				p.Commit(64)
				if n++; n%32 == 0 {
					err = p.Flush()
				}
			case ring.ErrFull:
				err = p.Flush()
			}
			if err != nil {
				return err
			}
		}
		return p.Flush()
	})
	runtime.KeepAlive(mem)
	st, serr := s.Stats()
	if err == nil {
		err = serr
	}
	wakes := p.Counters().Wakes
	t.Logf("%d records: %d calls, the ring says that %d woke the driver and the kit %d", records, calls, wakes, st.Kicks)
	if err == nil && (st.Kicks != wakes || wakes > records/100) {
		err = fmt.Errorf("%d kicks of a driver that slept %d times", st.Kicks, wakes)
	}
	return int64(calls) - int64(wakes), err
}
