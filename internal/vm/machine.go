// SPDX-License-Identifier: MIT

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"kshm/internal/vm/wire"
)

// A machine knows how to start one kind of virtual machine: the kernel log
// comes out of its standard output, the guest's frames out of file descriptor 3,
// and the initramfs is file descriptor 4; disks follow.
type machine struct {
	accel   Accel
	command func(ctx context.Context, a Accel, o Options) *exec.Cmd
}

func newMachine(ctx context.Context, o Options) (*machine, error) {
	if o.Kernel.UML {
		return newUML(o)
	}
	return newQEMU(ctx, o)
}

const firstDisk = 5

// run starts the machine, follows it to its end and judges.
func (m *machine) run(ctx context.Context, o Options, initrd *os.File) (*Result, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("vm: %w", err)
	}
	defer r.Close()
	log, complaint := limited{max: maxLog}, limited{max: maxLog}
	cmd := m.command(ctx, m.accel, o)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &log, &complaint, append([]*os.File{w, initrd}, o.Disks...)
	cmd.WaitDelay = 5 * time.Second
	release := contain(cmd)
	begin := time.Now()
	if o.Urgent {
		err = urgently(cmd.Start)
	} else {
		err = cmd.Start()
	}
	w.Close()
	if err != nil {
		release()
		return nil, fmt.Errorf("vm: %w", err)
	}
	var g guestState
	var reader sync.WaitGroup
	reader.Go(func() { g.follow(r, o) })
	waitErr := cmd.Wait()
	release() // of the last who could keep the pipe open
	reader.Wait()
	res := &Result{Log: log.Bytes(), Elapsed: time.Since(begin), Accel: m.accel}
	if g.report != nil {
		res.Exit, res.Killed = g.report.Exit, g.report.Killed
		res.Ready = time.Duration(g.report.Ready * float64(time.Second))
	}
	switch {
	case ctx.Err() != nil:
		return res, fail(ErrTimeout, "%v after %.0f s\n%s", context.Cause(ctx), res.Elapsed.Seconds(), tail(res.Log, 20))
	case g.report == nil && waitErr != nil && Splat(res.Log) == "":
		return res, fmt.Errorf("vm: %s: %w: %s", filepath.Base(cmd.Path), waitErr, bytes.TrimSpace(complaint.Bytes()))
	}
	return res, errors.Join(judge(res, g.report, o.underTest()...), log.whole(), g.err)
}

// maxLog bounds what is kept of a kernel that does not stop complaining.
const maxLog = 32 << 20

// A limited buffer keeps the first max bytes of what is written to it.
type limited struct {
	bytes.Buffer
	max  int
	lost int // bytes
}

func (l *limited) Write(p []byte) (int, error) {
	n, _ := l.Buffer.Write(p[:min(len(p), l.max-l.Len())])
	l.lost += len(p) - n
	return len(p), nil
}

// whole returns an error if something is not kept: a complaint may be in it.
func (l *limited) whole() error {
	if l.lost == 0 {
		return nil
	}
	return fail(ErrLog, "it goes on for %d bytes after the first %d", l.lost, l.max)
}

// A guestState is what the guest has said so far.
type guestState struct {
	report *wire.Report
	err    error // of writing down what it sent
	file   *os.File
}

// follow reads the guest's frames until it falls silent. It never stops
// early, because a guest that cannot write would not end.
func (g *guestState) follow(r io.Reader, o Options) {
	for {
		k, payload, err := wire.Read(r)
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				g.note(err)
			}
			break
		}
		switch k {
		case wire.Stdout:
			_, err = o.Stdout.Write(payload)
		case wire.Stderr:
			_, err = o.Stderr.Write(payload)
		case wire.File:
			g.close()
			g.file, err = create(o.Collect, string(payload))
		case wire.Data:
			if g.file != nil {
				_, err = g.file.Write(payload)
			}
		case wire.End:
			g.report = new(wire.Report)
			err = json.Unmarshal(payload, g.report)
		}
		g.note(err)
	}
	g.close()
	io.Copy(io.Discard, r)
}

func (g *guestState) close() {
	if g.file != nil {
		g.note(g.file.Close())
		g.file = nil
	}
}

func (g *guestState) note(err error) {
	if err != nil && g.err == nil {
		g.err = fmt.Errorf("vm: receive from the guest: %w", err)
	}
}

// create opens the host's file for a collected one. The guest names the file,
// so its place is taken from the options, and it cannot leave it.
func create(collect []File, guest string) (*os.File, error) {
	for _, c := range collect {
		rel, err := filepath.Rel(c.Guest, guest)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		host := filepath.Join(c.Host, rel)
		if err := os.MkdirAll(filepath.Dir(host), 0o755); err != nil {
			return nil, err
		}
		return os.Create(host)
	}
	return nil, fmt.Errorf("the guest sent %q, which nobody asked for", guest)
}

// tail returns the last lines of a log.
func tail(log []byte, n int) string {
	lines := strings.Split(strings.TrimRight(string(log), "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
