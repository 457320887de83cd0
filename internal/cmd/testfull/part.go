// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// run runs the part and says what came of it.
func (p part) run(ctx context.Context, root, inputs string) row {
	fmt.Printf("\n=== %s: %s\n", p.Name, p.Command)
	r := row{Part: p.Name, Kernel: p.Kernel, Command: p.Command, Inputs: inputs, Began: time.Now().UTC().Truncate(time.Second)}
	if r.Kernel == "" {
		r.Kernel = "–"
	}
	log, err := p.log(root)
	if err != nil {
		r.Verdict, r.Detail = failed, err.Error()
		return r
	}
	defer log.Close()
	begin := time.Now()
	var said tally
	err = p.execute(ctx, root, io.MultiWriter(os.Stdout, log), &said)
	r.Seconds = time.Since(begin).Seconds()
	said.fill(&r)
	switch {
	case err != nil:
		r.Verdict, r.Detail = failed, err.Error()
	case said.notRun != "":
		r.Verdict, r.Detail = notRun, said.notRun
	case r.Operations == 0 || r.Reports != 0 || r.Leaks != 0:
		r.Verdict, r.Detail = failed, "it ended well, and says that it did nothing or that something was wrong"
	default:
		r.Verdict = pass
	}
	return r
}

// log is the file that keeps the part's output.
func (p part) log(root string) (*os.File, error) {
	dir := filepath.Join(root, "build", "test-full")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.Create(filepath.Join(dir, strings.ReplaceAll(p.Name, "/", "-")+".log"))
}

// execute runs the command in a process group of its own, so that all of it
// ends with it.
func (p part) execute(ctx context.Context, root string, out io.Writer, said *tally) error {
	limit := min(p.Limit, time.Hour)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %v", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", p.Command)
	cmd.Dir = root
	inGroup(cmd)
	cmd.WaitDelay = 10 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	read := make(chan struct{})
	go func() {
		defer close(read)
		said.read(io.TeeReader(r, out))
		io.Copy(io.Discard, r)
	}()
	err := cmd.Run()
	w.Close()
	<-read
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// A tally is what a part's output says.
type tally struct {
	numbers map[string]int64
	tests   int64
	notRun  string
}

var (
	sayLine  = regexp.MustCompile(`^\s*(?:\S+_test\.go:\d+: )?testfull:((?: [a-z_]+=\d+)+)$`)
	passLine = regexp.MustCompile(`^\s*--- PASS: `)
	skipLine = regexp.MustCompile(`^\s*--- SKIP: `)
)

func (t *tally) read(r io.Reader) {
	t.numbers = make(map[string]int64)
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		t.line(strings.TrimRight(line, "\r\n"))
		if err != nil {
			return
		}
	}
}

func (t *tally) line(line string) {
	if m := sayLine.FindStringSubmatch(line); m != nil {
		for _, f := range strings.Fields(m[1]) {
			name, value, _ := strings.Cut(f, "=")
			n, _ := strconv.ParseInt(value, 10, 64)
			t.numbers[name] += n
		}
		return
	}
	if passLine.MatchString(line) {
		t.tests++
	}
	if skipLine.MatchString(line) {
		t.numbers["skipped"]++
	}
	if strings.HasPrefix(line, "NOT RUN: ") && t.notRun == "" {
		t.notRun = line
	}
}

// fill writes the numbers into the row; those without a field of their own stay
// under their names.
func (t *tally) fill(r *row) {
	r.Operations = t.tests
	for name, n := range t.numbers {
		switch name {
		case "operations":
			r.Operations = n
		case "reports":
			r.Reports = n
		case "leaks":
			r.Leaks = n
		default:
			if r.More == nil {
				r.More = make(map[string]int64)
			}
			r.More[name] = n
		}
	}
}
