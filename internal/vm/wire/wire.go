// SPDX-License-Identifier: MIT

// Package wire is what the host and the program that runs as a guest's init
// say to each other: a job, written into the guest's file system before it
// boots, and a stream of frames from the guest.
//
// It uses the standard library alone, because the guest's init is compiled
// from this source on the user's machine.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// JobPath is where the guest finds its job.
const JobPath = "/kshm/job.json"

// A Job says what the guest does.
type Job struct {
	Argv    []string // program, by its path, and arguments; none to do nothing
	Env     []string
	Dir     string   // working directory, made if it is missing
	Stdin   string   // file to read standard input from; "" for none
	Modules []Module // loaded in order, unloaded in reverse order
	Mkdir   []string // directories made before the program starts
	Collect []string // files and directories sent back after the program
}

// A Module is a kernel module in the guest's file system.
type Module struct {
	Path   string
	Name   string // the name the kernel knows it by
	Params string
	Keep   bool // not unloaded: part of the kernel, not of what is tested
}

// A Report is the guest's last word.
type Report struct {
	Failure string   // why the program could not be run; "" if it ran
	Insmod  bool     // Failure is a module that the kernel refused to load
	Exit    int      // exit status of the program, 128+signal if a signal ended it
	Pins    int64    // pages pinned by the end, less those at the start
	Stuck   []string // modules that could not be unloaded, and why
	Taint   uint64   // bits that came into /proc/sys/kernel/tainted
	Leaks   string   // what kmemleak found, on a kernel that has it
	Killed  int      // processes that outlived the program and were killed
	Ready   float64  // seconds from the kernel's start to the program's
}

// A Kind is the kind of a frame.
type Kind byte

// The kinds of frames.
const (
	Stdout Kind = 'o' // a piece of the program's standard output
	Stderr Kind = 'e' // a piece of its standard error
	File   Kind = 'f' // a file follows: its guest path
	Data   Kind = 'd' // a piece of that file
	End    Kind = 'r' // a Report in JSON; nothing follows
)

// MaxFrame is the largest payload of a frame, in bytes.
const MaxFrame = 1 << 16

// A Writer writes frames; its methods may be called concurrently.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Send writes payload as frames of one kind, at least one.
func (w *Writer) Send(k Kind, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n := min(len(payload), MaxFrame)
		frame := make([]byte, 5, 5+n)
		frame[0] = byte(k)
		binary.LittleEndian.PutUint32(frame[1:], uint32(n))
		if _, err := w.w.Write(append(frame, payload[:n]...)); err != nil {
			return err
		}
		if payload = payload[n:]; len(payload) == 0 {
			return nil
		}
	}
}

// SendJSON writes v as one frame.
func (w *Writer) SendJSON(k Kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > MaxFrame {
		return fmt.Errorf("wire: message of %d bytes", len(b))
	}
	return w.Send(k, b)
}

// Stream returns an io.Writer whose data becomes frames of one kind.
func (w *Writer) Stream(k Kind) io.Writer { return stream{w, k} }

type stream struct {
	w *Writer
	k Kind
}

func (s stream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.w.Send(s.k, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Read reads one frame. It returns io.EOF at the end of the stream, and
// io.ErrUnexpectedEOF if the guest died inside a frame.
func Read(r io.Reader) (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("wire: frame of %d bytes: something else writes to the guest's port", n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return Kind(head[0]), payload, nil
}
