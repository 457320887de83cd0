// SPDX-License-Identifier: MIT

package kshmtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"kshm"
)

// TestCases plays the orderings that the Windows kit is held to, against the
// model. In a bubble, what can happen has happened before each step, so that
// "busy" and "live" are certain.
func TestCases(t *testing.T) {
	text, err := os.ReadFile("../driver/test/nt/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var steps [][]string
	played := 0
	play := func() {
		if name != "" {
			played++
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { playCase(t, steps) })
			})
		}
		steps = nil
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "case "):
			play()
			name = strings.TrimPrefix(line, "case ")
		default:
			steps = append(steps, strings.Fields(line))
		}
	}
	play()
	if played < 20 {
		t.Errorf("%d cases", played)
	}
}

// player is one program, one open device, and the driver's side of its shares.
type player struct {
	t       *testing.T
	device  *Device
	file    *File
	dev     *kshm.Device
	refuse  bool
	kernel  map[uint64]*Share // by cookie, which is the number in the case
	shares  map[uint64]*kshm.Share
	irps    map[uint64]*IRP
	running map[string]chan string
	handles []func()
}

func playCase(t *testing.T, steps [][]string) {
	p := &player{t: t, kernel: make(map[uint64]*Share), shares: make(map[uint64]*kshm.Share),
		irps: make(map[uint64]*IRP), running: make(map[string]chan string)}
	kit := &Kit{Share: func(s *Share) Status {
		if p.refuse {
			return StatusAccessDenied
		}
		p.kernel[s.Cookie] = s
		return StatusSuccess
	}}
	p.device = NewDevice(kit, nil)
	dev, err := p.device.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.dev = dev
	for f := range p.device.files {
		p.file = f
	}
	for i, step := range steps {
		synctest.Wait()
		got, want := "", ""
		if n := len(step); n > 2 && step[n-2] == "->" {
			want, step = step[n-1], step[:n-2]
		}
		if want == "exists" {
			continue // the model numbers its shares itself
		}
		if step[0] == "wait" && want == "over" {
			// The model has no WAIT request. Share.Wait hears of an end when
			// it is complete: it may still be waiting now.
			p.running[fmt.Sprintf("%d over", i)] = p.start(step)
			continue
		}
		if got = p.play(step); got != want && want != "" {
			t.Fatalf("%s: %s, want %s", strings.Join(step, " "), got, want)
		}
	}
	for id, result := range p.running {
		if got := <-result; got != "over" && strings.HasSuffix(id, " over") {
			t.Errorf("step %s: %s", id, got)
		}
	}
	p.finish()
}

func (p *player) finish() {
	for _, closeHandle := range p.handles {
		closeHandle()
	}
	if err := p.dev.Close(); err != nil {
		p.t.Error(err)
	}
	<-p.file.gone
	if n := p.device.Pinned(); n != 0 {
		p.t.Errorf("%d bytes are still pinned", n)
	}
}

func (p *player) start(step []string) chan string {
	result := make(chan string, 1)
	go func() { result <- p.play(step) }()
	return result
}

// play makes one step and says what came of it.
func (p *player) play(step []string) string {
	number := func(i int) uint64 {
		n, err := strconv.ParseUint(step[i], 10, 64)
		if err != nil {
			p.t.Errorf("%q: %v", step, err)
		}
		return n
	}
	switch step[0] {
	case "start":
		p.running[step[1]] = p.start(step[2:])
	case "busy":
		if len(p.running[step[1]]) != 0 {
			p.t.Errorf("%s is not busy: %s", step[1], <-p.running[step[1]])
		}
	case "join":
		defer delete(p.running, step[1])
		return <-p.running[step[1]]
	case "close":
		p.file.close()
	case "dup":
		p.handles = append(p.handles, p.file.Duplicate())
	case "exit":
		p.file.exit()
	case "stop":
		p.device.Remove()
	case "refuse":
		p.refuse = step[1] == "on"
	case "share":
		return p.share(number(1))
	case "wait":
		n, err := p.shares[number(1)].Wait(p.t.Context(), number(2))
		if err != nil {
			return "over"
		}
		return fmt.Sprint(n)
	case "ended":
		if irp := p.irps[number(1)]; !irp.ended() || irp.status.reason().String() != step[2] {
			p.t.Errorf("%q: ended %t, with %v", step, irp.ended(), irp.status)
		}
	case "live":
		if p.irps[number(1)].ended() {
			p.t.Errorf("%q: it has ended", step)
		}
	default:
		return p.playShare(step[0], number(1))
	}
	return "ok"
}

// playShare makes a step on a share that exists, or has.
func (p *player) playShare(verb string, n uint64) string {
	irp, kernel := p.irps[n], p.kernel[n]
	if irp == nil {
		return "unknown"
	}
	switch verb {
	case "done":
		status, err := p.file.call(&IRP{Code: CodeDone, Share: irp.Share})
		if errors.Is(err, kshm.ErrClosed) {
			return "shut"
		}
		if status.Failed() && !irp.ended() {
			return status.Error()
		}
		return irp.status.reason().String()
	case "kick":
		status, err := p.file.call(&IRP{Code: CodeKick, Share: irp.Share})
		switch {
		case errors.Is(err, kshm.ErrClosed):
			return "shut"
		case status == StatusFileClosed:
			return "over"
		}
	case "cancel":
		irp.Cancel()
	case "notify":
		kernel.Notify()
	case "revoke":
		kernel.Revoke()
	case "corrupt":
		kernel.Corrupt(0, 1)
	case "enter":
		if !kernel.Enter() {
			return "over"
		}
	case "leave":
		kernel.Exit()
	default:
		p.t.Errorf("the model does not know %q", verb)
	}
	return "ok"
}

func (p *player) share(n uint64) string {
	buf, err := p.dev.Alloc(4096, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { buf.Close() })
	s, err := p.dev.Share(buf, &kshm.ShareOptions{Cookie: n})
	switch {
	case errors.Is(err, kshm.ErrGone):
		return "stopping"
	case errors.Is(err, kshm.ErrClosed):
		return "shut"
	case err != nil:
		return "refused"
	}
	p.shares[n], p.irps[n] = s, p.kernel[n].irp
	return "ok"
}
