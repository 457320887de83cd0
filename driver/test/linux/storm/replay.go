// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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

// fails reports whether a script fails in one of several tries: what depends on
// who comes first does not show each time.
func (s *storm) fails(c script.Script) bool {
	for range s.tries {
		o, err := s.replay(c)
		if err == nil && len(o.wrong) > 0 {
			return true
		}
	}
	return false
}

// explain says what went wrong in a round, and looks for a short script that
// shows it.
func (s *storm) explain(r *round, o outcome) error {
	err := fmt.Errorf("seed %d, round %d: %s", r.seed, r.number, strings.Join(o.wrong, "; "))
	fmt.Println("storm:", err)
	if s.shrinkTime <= 0 {
		return err
	}
	if !s.fails(o.script) {
		return fmt.Errorf("%w; played again %d times, its %d operations did not fail", err, s.tries, o.script.Len())
	}
	short := s.shrink(o.script)
	fmt.Printf("storm: these %d of %d operations fail; -script plays them:\n", short.Len(), o.script.Len())
	short.WriteTo(os.Stdout)
	return err
}

func (s *storm) shrink(c script.Script) script.Script {
	deadline := time.Now().Add(s.shrinkTime)
	return script.Shrink(c, s.fails, func() bool { return time.Now().After(deadline) || s.ctx.Err() != nil })
}
