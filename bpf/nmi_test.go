// SPDX-License-Identifier: MIT

//go:build linux && amd64

package bpf_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"kshm/bpf"
	"kshm/internal/sys"
)

var nested = flag.Int("nested", 20_000, "records that TestNMI interrupts")

// Records of perf samples in the middle of each record of a system call, in NMI
// context: an event of a data breakpoint, on the word that every record takes
// its number from. x86 handles it like an NMI, with interrupts off or on, on
// machines without performance counters, too. With one nesting level samples
// are dropped; with two they find a ring.
func TestNMI(t *testing.T) {
	needBPF(t)
	for _, c := range []struct {
		name   string
		levels int
	}{{"dropped", 1}, {"nested", 2}} {
		t.Run(c.name, func(t *testing.T) {
			var watched []*os.File
			s := shareLive(t, 64, 1<<20, c.levels, bpf.Options{Attach: func(c *ebpf.Collection) (_ []link.Link, err error) {
				if watched, err = watchNumbers(t, c.Programs["live_where"]); err != nil {
					return nil, err
				}
				return attachTo(c.Programs["live_on_sample"], watched)
			}})
			second, err := watchNumbers(t, s.progs.Programs["live_where"])
			if err != nil {
				t.Fatal(err)
			}
			events, detach := count(t, second...)
			defer detach()
			tallied := s.account(t, events, *nested)
			if tallied[2] < tallied[0]/2 { // those that find no slot take no number
				t.Errorf("%d samples of %d records", tallied[2], tallied[0])
			}
			stats, err := s.Stats()
			if err != nil {
				t.Fatal(err)
			}
			if c.levels == 1 && stats.ToUser.Drops < tallied[2] {
				t.Errorf("%d samples have found no ring, and %d were dropped", tallied[2], stats.ToUser.Drops)
			}
			if c.levels == 2 && stats.ToUser.Records < tallied[0]+tallied[2]/2 {
				t.Errorf("of %d records few are nested: %d", stats.ToUser.Records, tallied)
			}
		})
	}
}

// watchNumbers opens an event on each CPU that samples whenever a record there
// takes its number.
func watchNumbers(t *testing.T, where *ebpf.Program) ([]*os.File, error) {
	var all []*os.File
	for cpu := range runtime.NumCPU() {
		context := make([]byte, 8)
		binary.NativeEndian.PutUint64(context, uint64(cpu))
		if _, err := sys.RunBPF(where.FD(), context); err != nil {
			return nil, err
		}
		at := binary.NativeEndian.Uint64(context)
		if at == 0 {
			return nil, errors.New("the word has no address")
		}
		const written = 2 // HW_BREAKPOINT_W
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_BREAKPOINT, Size: uint32(binary.Size(unix.PerfEventAttr{})),
			Sample: 1, Bp_type: written, Ext1: at, Ext2: 8}
		fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
		for begun := time.Now(); err == unix.ENOSPC && time.Since(begun) < time.Minute; { // a debugger has them all
			time.Sleep(10 * time.Millisecond)
			fd, err = unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
		}
		if err != nil {
			return nil, err
		}
		f := os.NewFile(uintptr(fd), "breakpoint")
		t.Cleanup(func() { f.Close() })
		all = append(all, f)
	}
	return all, nil
}

// attachTo has a program run at each sample of the events.
func attachTo(p *ebpf.Program, events []*os.File) (links []link.Link, err error) {
	for _, f := range events {
		l, err := link.AttachRawLink(link.RawLinkOptions{Target: int(f.Fd()), Program: p, Attach: ebpf.AttachPerfEvent})
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}
