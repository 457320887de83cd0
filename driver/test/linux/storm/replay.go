// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"kshm/driver/test/linux/storm/script"
)

// replay plays a script once.
func (s *storm) replay(c script.Script) (outcome, error) {
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return outcome{}, err
	}
	path := filepath.Join(os.TempDir(), "storm.script")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return outcome{}, err
	}
	r := &round{storm: s, follow: &c, path: path}
	return r.play()
}

// fails reports whether a script shows a fault in one of several tries: what
// depends on who comes first does not show each time.
func (s *storm) fails(c script.Script, fault string) bool {
	for range s.tries {
		o, err := s.replay(c)
		if err == nil && slices.ContainsFunc(o.wrong, func(w string) bool { return faultOf(w) == fault }) {
			return true
		}
	}
	return false
}

var digits = regexp.MustCompile(`[0-9]+`)

// faultOf is what is wrong, without where and how much.
func faultOf(wrong string) string {
	fault, _, _ := strings.Cut(wrong, " (process")
	return digits.ReplaceAllString(fault, "N")
}

// explain says what went wrong in a round, and looks for a short script that
// shows it.
func (s *storm) explain(r *round, o outcome) error {
	err := fmt.Errorf("seed %d, round %d: %s", r.seed, r.number, strings.Join(o.wrong, "; "))
	fmt.Println("storm:", err)
	if s.shrinkTime <= 0 {
		return err
	}
	fault := faultOf(o.wrong[0])
	if !s.fails(o.script, fault) {
		return fmt.Errorf("%w; played again %d times, its %d operations did not fail", err, s.tries, o.script.Len())
	}
	short := s.shrink(o.script, fault)
	fmt.Printf("storm: these %d of %d operations fail; -script plays them:\n", short.Len(), o.script.Len())
	short.WriteTo(os.Stdout)
	return err
}

func (s *storm) shrink(c script.Script, fault string) script.Script {
	deadline := time.Now().Add(s.shrinkTime)
	fails := func(c script.Script) bool { return s.fails(c, fault) }
	return script.Shrink(c, fails, func() bool { return time.Now().After(deadline) || s.ctx.Err() != nil })
}
