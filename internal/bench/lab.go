// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kshm/ring"
)

// lab is the memory, the C side and the two processors.
type lab struct {
	pair
	options Options
	mem     []byte
	in, out ring.Group // to C, from C
	c       *server
	dir     string
}

func newLab(ctx context.Context, o Options) (*lab, error) {
	l := &lab{options: o, pair: pair{cpus: o.CPUs}}
	// The layout is that of share_geometry() in peer.h.
	var layout ring.Layout
	layout.Plain(1)
	var err error
	if l.in, err = layout.Add(ring.ToKernel, 1, capacity); err != nil {
		return nil, err
	}
	layout.Plain(1)
	if l.out, err = layout.Add(ring.ToUser, 1, capacity); err != nil {
		return nil, err
	}
	layout.Plain(1)
	memory, err := os.CreateTemp("/dev/shm", "kshm-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: shared memory: %w", err)
	}
	defer memory.Close()
	os.Remove(memory.Name())
	if err := memory.Truncate(int64(layout.Size())); err != nil {
		return nil, fmt.Errorf("bench: shared memory: %w", err)
	}
	if l.mem, err = mapShared(memory, layout.Size()); err != nil {
		return nil, fmt.Errorf("bench: shared memory: %w", err)
	}
	if l.dir, err = os.MkdirTemp("", "kshm-bench"); err != nil {
		return nil, err
	}
	if l.c, err = startServer(ctx, o, l.dir, memory); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) close() {
	if l.c != nil {
		l.c.stop()
	}
	os.RemoveAll(l.dir)
	unmap(l.mem)
}

// format empties both rings.
func (l *lab) format() error {
	for _, g := range []ring.Group{l.in, l.out} {
		if err := ring.Format(l.mem, g); err != nil {
			return err
		}
	}
	return nil
}

// probe is the time of a bare cache-line round trip.
func (l *lab) probe() (time.Duration, error) {
	r, err := l.c.trial("probe", trialCase{trial: 300 * time.Microsecond})
	if err != nil || r.records == 0 {
		return 0, err
	}
	return r.took / time.Duration(r.records), nil
}

// server is driver/test/ring/bench.c as a process.
type server struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	libck bool
	dpdk  bool
}

func startServer(ctx context.Context, o Options, dir string, memory *os.File) (*server, error) {
	s := &server{}
	program, err := s.build(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, program, fmt.Sprint(capacity), fmt.Sprint(o.CPUs[0]), fmt.Sprint(o.CPUs[1]))
	s.cmd.ExtraFiles = []*os.File{memory}
	s.cmd.Stderr = o.Log
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	return s, s.cmd.Start()
}

// build compiles the C side with the libraries that are there.
func (s *server) build(ctx context.Context, o Options, dir string) (string, error) {
	program := filepath.Join(dir, "bench")
	args := []string{"-std=gnu11", "-O2", "-pthread", "-o", program, filepath.Join(o.Source, "bench.c")}
	var libraries []string
	if _, err := os.Stat("/usr/include/ck_ring.h"); err == nil {
		s.libck = true
		args, libraries = append(args, "-DHAVE_CK"), append(libraries, "-lck")
	} else {
		fmt.Fprintln(o.Log, "bench: no ck_ring beside ours: libck-dev is not installed")
	}
	if flags, err := exec.CommandContext(ctx, "pkg-config", "--cflags", "libdpdk").Output(); err == nil {
		s.dpdk = true
		args = append(append(args, "-DHAVE_RTE"), strings.Fields(string(flags))...)
		libraries = append(libraries, "-lrte_ring", "-lrte_eal")
	} else {
		fmt.Fprintln(o.Log, "bench: no rte_ring beside ours: libdpdk-dev is not installed")
	}
	out, err := exec.CommandContext(ctx, "gcc", append(args, libraries...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("bench: compile the C side: %w\n%s", err, out)
	}
	return program, nil
}

// prepare puts the C side on its processor for a trial, start starts it there
// at once, and end waits for it.
func (s *server) prepare(work string, c trialCase) error {
	_, err := fmt.Fprintf(s.in, "%s %d %d %d\n", work, c.size, max(c.batch, 1), c.trial.Microseconds())
	if err != nil {
		return err
	}
	line, err := s.out.ReadString('\n')
	if err != nil || line != "ready\n" {
		return fmt.Errorf("the C side is not ready: %q, %w", line, err)
	}
	return nil
}

func (s *server) start() error {
	_, err := io.WriteString(s.in, "go\n")
	return err
}

func (s *server) end() (result, error) {
	var r result
	line, err := s.out.ReadString('\n')
	if err != nil {
		return r, fmt.Errorf("the C side ended: %w", err)
	}
	_, err = fmt.Sscan(line, &r.records, &r.took, &r.preempted)
	return r, err
}

func (s *server) trial(work string, c trialCase) (result, error) {
	if err := s.prepare(work, c); err != nil {
		return result{}, err
	}
	if err := s.start(); err != nil {
		return result{}, err
	}
	return s.end()
}

func (s *server) stop() {
	s.in.Close()
	s.cmd.Wait()
}
