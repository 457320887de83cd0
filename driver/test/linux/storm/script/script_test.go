// SPDX-License-Identifier: MIT

package script

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func sample(seed uint64, processes, lanes, ops uint32) (s Script) {
	for p := range processes {
		life := Life{Process: p, Lanes: make([][]Op, lanes)}
		for lane := range lanes {
			stream := NewStream(seed, Mix{Forks: 1000, Kills: 100}, Place{Process: p, Lane: lane})
			for range ops {
				life.Lanes[lane] = append(life.Lanes[lane], stream.Next())
			}
		}
		s.Lives = append(s.Lives, life)
	}
	return s
}

func TestStreams(t *testing.T) {
	a, b := sample(1, 3, 2, 500), sample(1, 3, 2, 500)
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed gives two storms")
	}
	if reflect.DeepEqual(a, sample(2, 3, 2, 500)) {
		t.Error("two seeds give the same storm")
	}
	if reflect.DeepEqual(a.Lives[1].Lanes[0], a.Lives[1].Lanes[1]) || reflect.DeepEqual(a.Lives[1].Lanes, a.Lives[2].Lanes) {
		t.Error("two lanes do the same")
	}
}

// Every kind comes in some stream, with every argument below its limit.
func TestKindsAreReached(t *testing.T) {
	seen := make(map[Kind]bool)
	for _, l := range sample(1, 2, 2, 200_000).Lives {
		for _, op := range slices.Concat(l.Lanes...) {
			seen[op.Kind] = true
			for i, a := range Kinds[op.Kind].Args {
				if op.Arg[i] >= a.Limit {
					t.Fatalf("%v", op)
				}
			}
			if weather := Kinds[op.Kind].Weather > 0; weather != (l.Process == Weather) {
				t.Fatalf("process %d does %v", l.Process, op)
			}
		}
	}
	for k, spec := range Kinds {
		if !seen[Kind(k)] {
			t.Errorf("nobody does %q", spec.Name)
		}
	}
}

func TestStreamDoesNotAllocate(t *testing.T) {
	s := NewStream(1, Mix{}, Place{Process: 1})
	if n := testing.AllocsPerRun(1000, func() { s.Next() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTextRoundTrip(t *testing.T) {
	s := sample(3, 3, 3, 300)
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Parse(&b)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("error %v, or the script differs", err)
	}
}

func TestBadText(t *testing.T) {
	for text, want := range map[string]string{
		"kick slot=1":                             "begins with",
		"storm 1\nprocess 99":                     "not a number below",
		"storm 1\nlane 0":                         "before its process",
		"storm 1\nprocess 1\nkick slot=1":         "before its lane",
		"storm 1\nprocess 1\nlane 1":              "numbered from 0",
		"storm 1\nprocess 1\nlane 0\nkick":        "1 arguments, not 0",
		"storm 1\nprocess 1\nlane 0\nkick slot=x": "a number below",
		"storm 1\nprocess 1\nlane 0\nkick area=1": "should be slot=",
		"storm 1\nprocess 1\nlane 0\nfly":         "no operation is called",
	} {
		if _, err := Parse(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// has reports whether wanted appears in order in one lane of the script.
func has(s Script, wanted ...Kind) bool {
	for _, l := range s.Lives {
		for _, ops := range l.Lanes {
			i := 0
			for _, op := range ops {
				if op.Kind == wanted[i] {
					if i++; i == len(wanted) {
						return true
					}
				}
			}
		}
	}
	return false
}

func TestShrink(t *testing.T) {
	never := func() bool { return false }
	s := sample(4, 5, 4, 400)
	cases := map[string]struct {
		fails func(Script) bool
		want  int
	}{
		"one operation":     {func(s Script) bool { return has(s, Remap) }, 1},
		"three in one lane": {func(s Script) bool { return has(s, Share, Kick, Dup) }, 3},
		"two processes": {func(s Script) bool {
			return slices.ContainsFunc(s.Lives, func(l Life) bool { return l.Process == 2 && has(Script{[]Life{l}}, Send) }) &&
				slices.ContainsFunc(s.Lives, func(l Life) bool { return l.Process == 3 && has(Script{[]Life{l}}, Receive) })
		}, 2},
		"an argument": {func(s Script) bool {
			for _, p := range opsOf(s) {
				if op := s.Lives[p.life].Lanes[p.lane][p.from]; op.Kind == Kick && op.Arg[0] >= 12 {
					return true
				}
			}
			return false
		}, 1},
		"ten": {func(s Script) bool {
			n := 0
			for _, p := range opsOf(s) {
				if s.Lives[p.life].Lanes[p.lane][p.from].Kind == Close {
					n++
				}
			}
			return n >= 10
		}, 10},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tries := 0
			got := Shrink(s, func(s Script) bool { tries++; return c.fails(s) }, never)
			if !c.fails(got) || got.Len() != c.want {
				t.Errorf("%d operations, want %d; fails: %v", got.Len(), c.want, c.fails(got))
			}
			t.Logf("%d operations to %d in %d tries", s.Len(), got.Len(), tries)
		})
	}
}

// When time is up, the best script so far comes back: one that fails.
func TestShrinkStops(t *testing.T) {
	s, tries := sample(4, 5, 4, 400), 0
	fails := func(s Script) bool { return has(s, Share, Kick, Dup) }
	got := Shrink(s, func(s Script) bool { tries++; return fails(s) }, func() bool { return tries >= 20 })
	if tries > 20 || !fails(got) || got.Len() >= s.Len() {
		t.Errorf("%d tries, %d of %d operations, fails: %v", tries, got.Len(), s.Len(), fails(got))
	}
}
