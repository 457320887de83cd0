// SPDX-License-Identifier: MIT

package script

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Script is a storm written down: the lives of its processes, those of one
// process in the order in which they follow each other.
type Script struct {
	Lives []Life
}

// A Life is what the lanes of one process do from its start to its end.
type Life struct {
	Process uint32
	Lanes   [][]Op
}

// Len is the number of operations.
func (s Script) Len() int {
	n := 0
	for _, l := range s.Lives {
		for _, ops := range l.Lanes {
			n += len(ops)
		}
	}
	return n
}

func (o Op) String() string {
	var b strings.Builder
	spec := Kinds[o.Kind]
	b.WriteString(spec.Name)
	for i, a := range spec.Args {
		fmt.Fprintf(&b, " %s=%d", a.Name, o.Arg[i])
	}
	return b.String()
}

// WriteTo writes the script as text: a line for each operation, below lines
// that say whose it is.
func (s Script) WriteTo(w io.Writer) (int64, error) {
	b := bufio.NewWriter(w)
	var n int64
	line := func(format string, args ...any) {
		m, _ := fmt.Fprintf(b, format+"\n", args...)
		n += int64(m)
	}
	line("storm 1")
	for _, l := range s.Lives {
		line("process %d", l.Process)
		for i, ops := range l.Lanes {
			line("lane %d", i)
			for _, op := range ops {
				line("%v", op)
			}
		}
	}
	return n, b.Flush()
}

// Parse reads what WriteTo writes. Empty lines and lines that begin with # mean
// nothing.
func Parse(r io.Reader) (Script, error) {
	var s Script
	in, began := bufio.NewScanner(r), false
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if !began {
			if line != "storm 1" {
				return s, fmt.Errorf("line %d: a script begins with %q", n, "storm 1")
			}
			began = true
			continue
		}
		if err := s.line(line); err != nil {
			return s, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s, in.Err()
}

func (s *Script) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "process":
		n, err := number(rest, MaxProcs)
		s.Lives = append(s.Lives, Life{Process: n})
		return err
	case "lane":
		if len(s.Lives) == 0 {
			return fmt.Errorf("a lane before its process")
		}
		l := &s.Lives[len(s.Lives)-1]
		if n, err := number(rest, MaxLanes); err != nil || int(n) != len(l.Lanes) {
			return fmt.Errorf("lane %q: lanes are numbered from 0 up to %d", rest, MaxLanes-1)
		}
		l.Lanes = append(l.Lanes, nil)
		return nil
	}
	op, err := parseOp(word, strings.Fields(rest))
	if err != nil {
		return err
	}
	if len(s.Lives) == 0 || len(s.Lives[len(s.Lives)-1].Lanes) == 0 {
		return fmt.Errorf("%s before its lane", word)
	}
	lanes := s.Lives[len(s.Lives)-1].Lanes
	lanes[len(lanes)-1] = append(lanes[len(lanes)-1], op)
	return nil
}

func parseOp(name string, args []string) (Op, error) {
	for k, spec := range Kinds {
		if spec.Name != name {
			continue
		}
		op := Op{Kind: Kind(k)}
		if len(args) != len(spec.Args) {
			return op, fmt.Errorf("%s has %d arguments, not %d", name, len(spec.Args), len(args))
		}
		for i, a := range spec.Args {
			value, ok := strings.CutPrefix(args[i], a.Name+"=")
			n, err := number(value, a.Limit)
			if !ok || err != nil {
				return op, fmt.Errorf("%s: %q should be %s= and a number below %d", name, args[i], a.Name, a.Limit)
			}
			op.Arg[i] = n
		}
		return op, nil
	}
	return Op{}, fmt.Errorf("no operation is called %q", name)
}

func number(text string, limit uint32) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n >= uint64(limit) {
		return 0, fmt.Errorf("%q is not a number below %d", text, limit)
	}
	return uint32(n), nil
}
