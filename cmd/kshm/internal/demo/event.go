// SPDX-License-Identifier: MIT

package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// An Event is one thing that happened; exactly one field is set. Events travel
// as lines of JSON from a guest to the program that shows them.
type Event struct {
	Scene    string    `json:"scene,omitempty"` // where it happens
	Step     *Step     `json:"step,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Facts    *Facts    `json:"facts,omitempty"`
	Failure  string    `json:"failure,omitempty"`
}

// A Step is a step of the recipe as one side took it.
type Step struct {
	Number int    `json:"number"` // as the recipe counts
	Lane   Lane   `json:"lane"`
	Text   string `json:"text"`
}

// A Lane is the side that acts.
type Lane string

// The two sides.
const (
	Program Lane = "program"
	Kernel  Lane = "kernel"
)

// Progress says how much of the file the kernel has read.
type Progress struct {
	Bytes int64 `json:"bytes"`
	Of    int64 `json:"of"`
}

// Emit takes an event, at once and in order.
type Emit func(Event)

// Encode returns an Emit that writes lines to w, and stops at the first error.
func Encode(w io.Writer) Emit {
	var failed bool
	return func(e Event) {
		b, err := json.Marshal(e)
		if err != nil || failed {
			return
		}
		_, err = w.Write(append(b, '\n'))
		failed = err != nil
	}
}

// maxLine bounds what a guest can make the host keep.
const maxLine = 1 << 16

// Decode returns a writer that turns lines back into events.
func Decode(emit Emit) io.Writer { return &decoder{emit: emit} }

type decoder struct {
	emit Emit
	line []byte
}

func (d *decoder) Write(p []byte) (int, error) {
	d.line = append(d.line, p...)
	for {
		line, rest, ok := bytes.Cut(d.line, []byte("\n"))
		if !ok {
			break
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, fmt.Errorf("demo: the guest said %.80q: %w", line, err)
		}
		d.emit(e)
		d.line = rest
	}
	if len(d.line) > maxLine {
		return 0, fmt.Errorf("demo: the guest said a line of more than %d bytes", maxLine)
	}
	return len(p), nil
}
