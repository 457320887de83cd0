// SPDX-License-Identifier: MIT
//go:build linux

package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"kshm/internal/vm/wire"
)

var copies sync.WaitGroup // of the program's output

// execute runs the job's program and returns its exit status.
func execute(w *wire.Writer, job *wire.Job) (int, error) {
	for _, dir := range append(job.Mkdir, job.Dir) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return 0, err
		}
	}
	if job.Stdin == "" {
		job.Stdin = os.DevNull
	}
	stdin, err := os.Open(job.Stdin)
	if err != nil {
		return 0, err
	}
	stdout, err := outlet(w, wire.Stdout)
	if err != nil {
		return 0, err
	}
	stderr, err := outlet(w, wire.Stderr)
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(job.Argv[0], job.Argv, &os.ProcAttr{
		Dir: job.Dir, Env: job.Env, Files: []*os.File{stdin, stdout, stderr},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	for _, f := range []*os.File{stdin, stdout, stderr} {
		f.Close()
	}
	if err != nil {
		return 0, err
	}
	pid := p.Pid
	p.Release()
	return reap(pid), nil
}

// outlet returns the end of a pipe whose other end is copied to the host.
func outlet(w *wire.Writer, k wire.Kind) (*os.File, error) {
	r, f, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	copies.Go(func() {
		io.CopyBuffer(w.Stream(k), struct{ io.Reader }{r}, make([]byte, wire.MaxFrame))
		r.Close()
	})
	return f, nil
}

// reap collects dead children, orphans among them, until pid is one of them.
func reap(pid int) int {
	for {
		var s syscall.WaitStatus
		got, err := syscall.Wait4(-1, &s, 0, nil)
		switch {
		case err != nil && err != syscall.EINTR:
			return 255
		case got != pid:
		case s.Signaled():
			return 128 + int(s.Signal())
		default:
			return s.ExitStatus()
		}
	}
}

// killAll ends every process that outlived the program, and returns how many
// there were. The program's output is complete afterwards.
func killAll() (killed int) {
	syscall.Kill(-1, syscall.SIGKILL)
	for {
		var s syscall.WaitStatus
		_, err := syscall.Wait4(-1, &s, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			break
		}
		if s.Signaled() && s.Signal() == syscall.SIGKILL {
			killed++
		}
	}
	copies.Wait()
	return killed
}

// collect sends files to the host; a path that is missing is left out.
func collect(w *wire.Writer, paths []string) error {
	for _, path := range paths {
		err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			return sendFile(w, name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func sendFile(w *wire.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := w.Send(wire.File, []byte(name)); err != nil {
		return err
	}
	_, err = io.CopyBuffer(w.Stream(wire.Data), struct{ io.Reader }{f}, make([]byte, wire.MaxFrame))
	return err
}
