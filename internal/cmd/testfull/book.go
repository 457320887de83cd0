// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Verdicts of a part.
const (
	pass   = "pass"
	failed = "FAIL"
	notRun = "not run" // what it needs cannot be had here
)

// A row is what came of a part.
type row struct {
	Part       string           `json:"part"`
	Kernel     string           `json:"kernel"`
	Operations int64            `json:"operations"`
	Reports    int64            `json:"reports"` // of the kernel or a sanitizer
	Leaks      int64            `json:"leaks"`   // things left behind
	Verdict    string           `json:"verdict"`
	Detail     string           `json:"detail,omitempty"` // why it is not "pass"
	More       map[string]int64 `json:"more,omitempty"`   // other numbers of the part's own
	Began      time.Time        `json:"began"`
	Seconds    float64          `json:"seconds"`
	Command    string           `json:"command"`
	Inputs     string           `json:"inputs"` // identifies what was tested
}

// A book is the file of rows.
type book struct {
	path string
	Rows []row `json:"rows"`
}

func (b *book) read() error {
	text, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, b); err != nil {
		return fmt.Errorf("%s: %w; remove it to begin anew", b.path, err)
	}
	return nil
}

// row returns the row of a part, nil if there is none.
func (b *book) row(part string) *row {
	i := slices.IndexFunc(b.Rows, func(r row) bool { return r.Part == part })
	if i < 0 {
		return nil
	}
	return &b.Rows[i]
}

// passed reports whether the part has passed with these inputs.
func (b *book) passed(part, inputs string) bool {
	r := b.row(part)
	return r != nil && r.Verdict == pass && r.Inputs == inputs
}

// add puts a row in the place of the part's older one and writes the file in one
// step. What another testfull has added meanwhile stays.
func (b *book) add(r row) error {
	b.Rows = nil
	if err := b.read(); err != nil {
		return err
	}
	if old := b.row(r.Part); old != nil {
		*old = r
	} else {
		b.Rows = append(b.Rows, r)
	}
	text, err := json.MarshalIndent(b, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(b.path), ".test-full-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), b.path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}
