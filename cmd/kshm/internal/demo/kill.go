// SPDX-License-Identifier: MIT

package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A family is a child that shares its memory and a grandchild that inherited
// the share's descriptor. Both write lines to one pipe and end, at the latest,
// when the other pipe is closed.
type family struct {
	child *exec.Cmd
	lines chan string
	life  *os.File // closing it ends whoever is left
}

// startFamily runs argv as the child.
func startFamily(ctx context.Context, argv []string) (*family, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		inW.Close()
		return nil, err
	}
	defer outW.Close()
	f := &family{child: exec.CommandContext(ctx, argv[0], argv[1:]...), lines: make(chan string), life: inW}
	f.child.Stdin, f.child.Stdout, f.child.Stderr = inR, outW, os.Stderr
	if err := f.child.Start(); err != nil {
		inW.Close()
		outR.Close()
		return nil, err
	}
	go func() {
		defer outR.Close()
		defer close(f.lines)
		for s := bufio.NewScanner(outR); s.Scan(); {
			f.lines <- s.Text()
		}
	}()
	return f, nil
}

// familyPatience is how long a line of the family may take.
const familyPatience = 30 * time.Second

// expect waits for a line that starts with word and returns the rest of it.
func (f *family) expect(ctx context.Context, word string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, familyPatience)
	defer cancel()
	for {
		select {
		case line, ok := <-f.lines:
			if !ok {
				return "", fmt.Errorf("the child ended before it said %q", word)
			}
			if rest, ok := strings.CutPrefix(line, word); ok {
				return strings.TrimSpace(rest), nil
			}
		case <-ctx.Done():
			return "", fmt.Errorf("the child does not say %q: %w", word, ctx.Err())
		}
	}
}

// close ends everybody and waits for it.
func (f *family) close() {
	f.life.Close()
	f.child.Process.Kill()
	f.child.Wait()
	for range f.lines {
	}
}

// killWithHeir is step 8: SIGKILL for a child that shares, while a grandchild
// holds the share's descriptor.
func (r *runner) killWithHeir(ctx context.Context) error {
	pins := beginPinProof(r.Census)
	f, err := startFamily(ctx, slices.Concat(r.Child, []string{r.Device.Name()}))
	if err != nil {
		return fmt.Errorf("start a child: %w", err)
	}
	defer f.close()
	text, err := f.expect(ctx, lineShared)
	if err != nil {
		return err
	}
	var pages int64
	if _, err := fmt.Sscan(text, &pages); err != nil {
		return fmt.Errorf("the child says %q: %w", text, err)
	}
	if _, err := f.expect(ctx, lineHolding); err != nil {
		return err
	}
	pins.shared(pages)
	r.say(8, Program, "kill -9 of a child that shares %d pages; its own child inherited the descriptor", pages)
	f.child.Process.Kill()
	f.child.Wait()
	r.facts.KillPinsLeaked = pins.leaked()
	r.say(8, Kernel, "the share ends with the child")
	r.sayPins(8, r.facts.KillPinsLeaked, pages, pins.err)
	_, err = f.expect(ctx, lineEnded)
	ended := err == nil
	r.facts.KillShareEnded = &ended
	if err != nil {
		return fmt.Errorf("the share outlives the process that made it: %w", err)
	}
	r.say(8, Program, "the grandchild still has it and reads: ended")
	return nil
}

// What the child and the grandchild say.
const (
	lineShared  = "shared"
	lineHolding = "holding"
	lineEnded   = "ended"
)

// Hold is the grandchild: it reads the descriptor it inherited, says when that
// tells it of the end of the share, and keeps it open until in ends.
func Hold(share *os.File, in io.Reader, out io.Writer) error {
	fmt.Fprintln(out, lineHolding)
	var event [8]byte
	for {
		_, err := share.Read(event[:])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(out, lineEnded)
	_, err := io.Copy(io.Discard, in)
	share.Close()
	return err
}
