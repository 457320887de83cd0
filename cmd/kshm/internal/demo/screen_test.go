// SPDX-License-Identifier: MIT

package demo

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestScreen(t *testing.T) {
	var out, bar bytes.Buffer
	s := NewScreen(&out, &bar)
	for _, e := range []Event{
		{Scene: "a test"},
		{Step: &Step{1, Program, "open"}},
		{Step: &Step{1, Kernel, "pinned in 3 µs"}},
		{Progress: &Progress{0, 100}},
		{Progress: &Progress{40, 100}},
		{Step: &Step{5, Program, "a text that is longer than one lane is, so that it goes on below"}},
	} {
		s.Show(e)
	}
	s.Finish()
	want := `Kernel side: a test.

step  program                              │ kernel
───────────────────────────────────────────┼─────────────────────────────────────
  1   open                                 │
                                           │ pinned in 3 µs
  5   a text that is longer than one lane  │
      is, so that it goes on below         │
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	if !strings.Contains(bar.String(), "40%") {
		t.Errorf("the bar shows %q", &bar)
	}
}

func TestScreenWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out, nil)
	s.Show(Event{Progress: &Progress{40, 100}})
	s.Finish()
	if out.Len() != 0 {
		t.Errorf("got %q", &out)
	}
}

func TestWrap(t *testing.T) {
	text := "the kernel's counter changed 1,234,567 times, seen in memory, " + strings.Repeat("x", 50) + " µµµ"
	lines := wrap(text, laneWidth)
	if strings.Join(lines, " ") != text {
		t.Errorf("words are lost: %q", lines)
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) > laneWidth && strings.Contains(l, " ") {
			t.Errorf("%q is too long", l)
		}
	}
}
