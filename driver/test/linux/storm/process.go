// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"kshm/driver/test/linux/storm/script"
)

// What a process of the storm inherits, by number.
const (
	boardFD = 3 + iota
	noiseFD
	socketFD // script.Sockets of them
	deviceFD = socketFD + script.Sockets
)

// drivers are the names by number: of the inherited descriptors, and of those
// that a process opens.
var drivers = [4]string{"probe", "digest", "loop", "probe"}

// sharedDevice is the one whose open file all processes have in common; the
// others get their own. Each share through it is another address space's, and
// costs the kit an mmu_notifier.
const sharedDevice = 3

// orders are what a process is told by its environment.
type orders struct {
	place  script.Place
	seed   uint64
	mix    script.Mix
	procs  uint32 // that there are
	lanes  uint32
	script string // file to follow instead of a stream
	number int    // of the life in it
}

const ordersFormat = "%d %d %d %d %d %d %d %d %d %q"

func (o orders) String() string {
	return fmt.Sprintf(ordersFormat, o.place.Round, o.place.Process, o.place.Life, o.seed, o.mix.Forks, o.mix.Kills, o.procs, o.lanes, o.number, o.script)
}

func parseOrders(text string) (o orders, err error) {
	_, err = fmt.Sscanf(text, ordersFormat, &o.place.Round, &o.place.Process, &o.place.Life, &o.seed, &o.mix.Forks, &o.mix.Kills, &o.procs, &o.lanes, &o.number, &o.script)
	return o, err
}

// A process is what its lanes share, and take away from each other.
type process struct {
	orders
	board   *board
	state   *procState
	slots   [script.Slots]atomic.Int32 // descriptors, -1 for none
	devices [script.Devices]atomic.Int32
	file    int // a memfd, mapped into areas
	scratch int // a memfd, through which bytes reach memory that may be gone
	exe     int
}

// playProcess is the main function of a process of the storm.
func playProcess(text string) error {
	// A lane makes raw system calls, which the scheduler cannot see: so a
	// processor for each, and no collection that would wait for them. Lanes are
	// not locked to their threads, since to take turns with itself such a one
	// needs another thread, again and again; with nobody to change places with,
	// each stays where it is.
	debug.SetGCPercent(-1)
	o, err := parseOrders(text)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(int(o.lanes))
	p, err := newProcess(o)
	if err != nil {
		return err
	}
	sources, err := o.sources()
	if err != nil {
		return err
	}
	var wg, ready sync.WaitGroup
	ready.Add(len(sources))
	for i, next := range sources {
		l, err := newLane(p, uint32(i), next)
		if err != nil {
			return err
		}
		wg.Go(func() {
			l.state.tid.Store(int32(unix.Gettid()))
			ready.Done()
			ready.Wait()
			l.run()
		})
	}
	ready.Wait()
	p.state.ready.Store(1)
	wg.Wait()
	return nil
}

// sources returns where each lane gets its operations from.
func (o orders) sources() (list []func() (script.Op, bool), err error) {
	if o.script == "" {
		for i := range o.lanes {
			place := o.place
			place.Lane = i
			stream := script.NewStream(o.seed, o.mix, place)
			list = append(list, func() (script.Op, bool) { return stream.Next(), true })
		}
		return list, nil
	}
	f, err := os.Open(o.script)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := script.Parse(f)
	if err != nil {
		return nil, err
	}
	for _, ops := range s.Lives[o.number].Lanes {
		list = append(list, func() (op script.Op, ok bool) {
			if len(ops) == 0 {
				return op, false
			}
			op, ops = ops[0], ops[1:]
			return op, true
		})
	}
	return list, nil
}

func newProcess(o orders) (*process, error) {
	b, err := mapBoard(boardFD)
	if err != nil {
		return nil, err
	}
	p := &process{orders: o, board: b, state: &b.procs[o.place.Process]}
	for i := range p.slots {
		p.slots[i].Store(-1)
	}
	for i := range p.devices {
		p.devices[i].Store(-1)
		if i < len(drivers) {
			p.devices[i].Store(int32(deviceFD + i))
		}
	}
	for _, to := range []*int{&p.file, &p.scratch} {
		if *to, err = unix.MemfdCreate("storm", unix.MFD_CLOEXEC); err != nil {
			return nil, err
		}
		if err = unix.Ftruncate(*to, script.Pages*pageSize); err != nil {
			return nil, err
		}
	}
	p.exe, err = unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return p, reserveAreas()
}

// device is one of the process's own, or the inherited one if there is none.
func (p *process) device(i uint32) int32 {
	if fd := p.devices[i].Load(); fd >= 0 {
		return fd
	}
	return p.devices[i%4].Load()
}

// keep puts a descriptor into a slot and closes the one that was there.
func keep(slot *atomic.Int32, fd int32) {
	if old := slot.Swap(fd); old >= 0 {
		raw(unix.SYS_CLOSE, uintptr(old), 0, 0)
	}
}

// raw and raw6 make system calls without telling Go's scheduler.
func raw(nr, a, b, c uintptr) (int, syscall.Errno) {
	r, _, err := syscall.RawSyscall(nr, a, b, c)
	return int(r), err
}

func raw6(nr, a, b, c, d, e, f uintptr) (int, syscall.Errno) {
	r, _, err := syscall.RawSyscall6(nr, a, b, c, d, e, f)
	return int(r), err
}
