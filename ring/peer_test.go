// SPDX-License-Identifier: MIT

//go:build linux

package ring_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kshm/ring"
)

// peerFlags are the builds of driver/test/ring/peer.c.
var peerFlags = map[string][]string{
	"plain": {"-O2"},
	"asan":  {"-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"},
	"tsan":  {"-O1", "-fsanitize=thread"},
}

var (
	peerDir    string
	peerBuilds = map[string]func() (string, error){}
)

func TestMain(m *testing.M) {
	var err error
	if peerDir, err = os.MkdirTemp("", "ring-peer"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for build, flags := range peerFlags {
		peerBuilds[build] = sync.OnceValues(func() (string, error) { return compilePeer(build, flags) })
	}
	code := m.Run()
	os.RemoveAll(peerDir)
	os.Exit(code)
}

func compilePeer(build string, flags []string) (string, error) {
	out := filepath.Join(peerDir, build)
	args := append([]string{"-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", out}, flags...)
	cmd := exec.Command("gcc", append(args, "../driver/test/ring/peer.c")...)
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
}

// startPeer runs the C side. The geometry is that of share_geometry().
func startPeer(t *testing.T, o peerOptions) *peer {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("gcc is missing")
		}
		t.Skip("gcc is missing: the C side cannot be built")
	}
	program, err := peerBuilds[o.build]()
	if err != nil {
		t.Fatal(err)
	}
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
	p.cmd = exec.Command(program, o.mode, fmt.Sprint(o.capacity), fmt.Sprint(o.rings),
		fmt.Sprint(o.records), fmt.Sprint(max(o.batch, 1)), fmt.Sprint(o.jitter))
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
	b.kicks++
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

var _ ring.Doorbell = (*pipeBell)(nil)
