// SPDX-License-Identifier: MIT

//go:build linux

package ring_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kshm/ring"
)

// buildFlags are the ways to compile the C side.
var buildFlags = map[string][]string{
	"plain": {"-O2"},
	"naive": {"-O0"}, // no two steps of the source are one of the machine
	"asan":  {"-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"},
	"tsan":  {"-O1", "-fsanitize=thread"},
	// A seeded bug: publish without its full barrier.
	"nofence": {"-O2", "-DKSHM_TEST_NO_FENCE"},
}

var (
	programDir string
	compilers  sync.Map // of source and build: func() (string, error)
)

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "ring"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(programDir)
	os.Exit(code)
}

// compiled is the program made of driver/test/ring/<source>.c.
func compiled(t *testing.T, source, build string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("gcc is missing")
		}
		t.Skip("gcc is missing: the C side cannot be built")
	}
	once, _ := compilers.LoadOrStore(source+build, sync.OnceValues(func() (string, error) {
		return compile(source, build)
	}))
	program, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func compile(source, build string) (string, error) {
	source = "../driver/test/ring/" + source + ".c"
	// Read what the compiler will read, so that go test's cache knows.
	for _, name := range []string{source, "../driver/test/ring/peer.h", "../driver/include/kshm_ring.h", "../driver/include/kshm.h"} {
		if _, err := os.ReadFile(name); err != nil {
			return "", err
		}
	}
	out := filepath.Join(programDir, filepath.Base(source)+"."+build)
	args := append([]string{"-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", out}, buildFlags[build]...)
	cmd := exec.Command("gcc", append(args, source)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd, err, text)
	}
	return out, nil
}

// peer is a running C program and the share that it and the test have.
type peer struct {
	mem     []byte
	in, out ring.Group // to the peer, from the peer
	bell    *pipeBell
	words   *memoryBell
	cmd     *exec.Cmd
	output  strings.Builder
	toPeer  *os.File
	from    *os.File
}

type peerOptions struct {
	build, mode            string
	capacity, rings        int
	records, batch, jitter int
	noPump                 bool // the test reads the pipe itself
	memoryBell             bool // events are words in the share
}

// startPeer runs the C side. The geometry is that of share_geometry().
func startPeer(t *testing.T, o peerOptions) *peer {
	t.Helper()
	program := compiled(t, "peer", o.build)
	p, memory := newPeerShare(t, o)
	defer memory.Close()
	eventsRead, toPeer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer eventsRead.Close()
	from, kickWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer kickWrite.Close()
	p.toPeer, p.from, p.bell = toPeer, from, newPipeBell(toPeer)
	p.words = newMemoryBell(t, p.mem)
	p.cmd = exec.Command(program, o.mode, fmt.Sprint(o.capacity), fmt.Sprint(o.rings),
		fmt.Sprint(o.records), fmt.Sprint(max(o.batch, 1)), fmt.Sprint(o.jitter),
		map[bool]string{false: "pipe", true: "memory"}[o.memoryBell])
	p.cmd.ExtraFiles = []*os.File{memory, eventsRead, kickWrite}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		toPeer.Close()
		from.Close()
	})
	if !o.noPump {
		go p.bell.pump(from)
	}
	return p
}

func newPeerShare(t *testing.T, o peerOptions) (*peer, *os.File) {
	t.Helper()
	var l ring.Layout
	p := &peer{}
	var err error
	l.Plain(1)
	if p.in, err = l.Add(ring.ToKernel, o.rings, o.capacity); err != nil {
		t.Fatal(err)
	}
	l.Plain(1)
	if p.out, err = l.Add(ring.ToUser, o.rings, o.capacity); err != nil {
		t.Fatal(err)
	}
	l.Plain(1)
	fd, err := unix.MemfdCreate("ring", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memory := os.NewFile(uintptr(fd), "ring")
	if err := memory.Truncate(int64(l.Size())); err != nil {
		t.Fatal(err)
	}
	p.mem, err = unix.Mmap(fd, 0, l.Size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(p.mem) })
	for _, g := range l.Groups() {
		if err := ring.Format(p.mem, g); err != nil {
			t.Fatal(err)
		}
	}
	return p, memory
}

// finish waits for the peer's own end and verdict.
func (p *peer) finish(t *testing.T) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the C side: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the C side does not end")
	}
}

// pipeBell is a Doorbell of one byte a ring. Its waiters are woken by the pump.
type pipeBell struct {
	bell
	out *os.File
}

func newPipeBell(out *os.File) *pipeBell {
	return &pipeBell{bell: bell{ring: make(chan struct{})}, out: out}
}

func (b *pipeBell) Kick() error {
	b.kicks.Add(1)
	_, err := b.out.Write([]byte{'k'})
	return err
}

// pump counts the peer's bytes until it is gone.
func (b *pipeBell) pump(from io.Reader) {
	buf := make([]byte, 64)
	for {
		n, err := from.Read(buf)
		b.mu.Lock()
		b.count += uint64(n)
		b.end = err
		close(b.ring)
		b.ring = make(chan struct{})
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// memoryBell is a Doorbell of two words in the share's first page, for rounds
// of less than a microsecond. A wait ends by an event alone.
type memoryBell struct {
	stop, events, kicks *uint64
	patience            time.Duration
}

var errNoEvent = errors.New("no event")

func newMemoryBell(t *testing.T, mem []byte) *memoryBell {
	t.Helper()
	word := func(at int) *uint64 {
		w, err := view(mem, at*8)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	return &memoryBell{stop: word(0), events: word(32), kicks: word(16), patience: 20 * time.Second}
}

func (b *memoryBell) Kick() error {
	atomic.AddUint64(b.kicks, 1)
	return nil
}

func (b *memoryBell) Events() uint64 { return atomic.LoadUint64(b.events) }

func (b *memoryBell) Wait(ctx context.Context, seen uint64) (uint64, error) {
	var start time.Time
	for i := 1; ; i++ {
		if n := b.Events(); n > seen {
			return n, nil
		}
		if i%(1<<12) != 0 {
			continue
		}
		syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
		if start.IsZero() {
			start = time.Now()
		}
		if time.Since(start) > b.patience {
			return 0, fmt.Errorf("%w for %v", errNoEvent, b.patience)
		}
	}
}
