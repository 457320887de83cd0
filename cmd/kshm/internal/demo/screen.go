// SPDX-License-Identifier: MIT

package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
)

// laneWidth is how many columns a lane has: two of them, the step's number and
// the line between fit into 80.
const laneWidth = 36

// A Screen shows events to a person: two lanes on out, a progress bar on bar.
type Screen struct {
	out  io.Writer
	bar  io.Writer // a terminal, or nil to show no bar
	live *progressbar.ProgressBar
	last int // number of the step shown last
}

// NewScreen returns a Screen; bar is nil where there is no terminal.
func NewScreen(out, bar io.Writer) *Screen { return &Screen{out: out, bar: bar} }

// Show is the Screen's Emit.
func (s *Screen) Show(e Event) {
	switch {
	case e.Scene != "":
		fmt.Fprintf(s.out, "Kernel side: %s.\n\nstep  %-*s │ kernel\n", e.Scene, laneWidth, "program")
		fmt.Fprintf(s.out, "──────%s─┼─%s\n", strings.Repeat("─", laneWidth), strings.Repeat("─", laneWidth))
	case e.Step != nil:
		s.step(*e.Step)
	case e.Progress != nil:
		s.progress(*e.Progress)
	}
}

func (s *Screen) step(step Step) {
	for _, line := range wrap(step.Text, laneWidth) {
		number := "    "
		if step.Number != s.last {
			number = fmt.Sprintf("%3d ", step.Number)
			s.last = step.Number
		}
		left, right := line, ""
		if step.Lane == Kernel {
			left, right = "", line
		}
		row := number + "  " + pad(left, laneWidth) + " │ " + right
		fmt.Fprintln(s.out, strings.TrimRight(row, " "))
	}
}

func (s *Screen) progress(p Progress) {
	if s.bar == nil || p.Of == 0 {
		return
	}
	if s.live == nil {
		s.live = progressbar.NewOptions64(p.Of,
			progressbar.OptionSetWriter(s.bar), progressbar.OptionSetDescription("      the kernel hashes"),
			progressbar.OptionShowBytes(true), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetWidth(20), progressbar.OptionClearOnFinish())
	}
	s.live.Set64(p.Bytes)
}

// Finish takes a bar that did not come to its end off the screen.
func (s *Screen) Finish() {
	if s.live != nil && !s.live.IsFinished() {
		s.live.Clear()
	}
}

// Summary is the last word to a person.
func (s *Screen) Summary(r *Report) {
	fmt.Fprintf(s.out, "\nfile        %s, %s bytes\n", r.File, humanize.Comma(r.Bytes))
	fmt.Fprintf(s.out, "the kernel  %s\n", r.SHA256)
	fmt.Fprintf(s.out, "Go          %s\n", r.GoSHA256)
	switch {
	case !r.Verified:
		fmt.Fprintln(s.out, "NOT verified")
	case r.Unproven != "":
		fmt.Fprintf(s.out, "verified; both shares ended; not proven that no page in the system is left pinned: %s\n", r.Unproven)
	default:
		fmt.Fprintln(s.out, "verified; no page is left pinned, after DONE and after kill -9")
	}
	if r.Note != "" {
		fmt.Fprintln(s.out, "note:", r.Note)
	}
}

// pad fills s up to width columns.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// wrap breaks text at spaces into lines of at most width runes, where it can.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
