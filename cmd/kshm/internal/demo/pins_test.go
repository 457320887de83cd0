// SPDX-License-Identifier: MIT

package demo

import (
	"errors"
	"strings"
	"testing"
)

func TestParseCensus(t *testing.T) {
	for text, want := range map[string]int64{
		"nr_free 7\nnr_foll_pin_acquired 300\nnr_foll_pin_released 43\n": 257,
		"nr_foll_pin_released 5\nnr_foll_pin_acquired 5":                 0,
	} {
		if got, err := parseCensus(text); got != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "nr_foll_pin_acquired 300\n", "nr_foll_pin_acquired x\nnr_foll_pin_released 1"} {
		if got, err := parseCensus(text); err == nil {
			t.Errorf("%q: %d and no error", text, got)
		}
	}
}

// counts returns a Census that gives the counts in turn, and the last for ever.
func counts(n ...int64) Census {
	return func() (int64, error) {
		now := n[0]
		if len(n) > 1 {
			n = n[1:]
		}
		return now, nil
	}
}

func TestPinProof(t *testing.T) {
	for name, test := range map[string]struct {
		census Census
		leaked int64 // -1: unknown
		why    string
	}{
		"all given back":             {counts(5, 15, 5), 0, ""},
		"later":                      {counts(5, 15, 15, 12, 5), 0, ""},
		"leak":                       {counts(5, 15, 6), 1, ""},
		"others":                     {counts(5, 20, 5), -1, "15 pages were pinned for a share of 10"},
		"a count that does not move": {counts(0), -1, "0 pages were pinned"},
		"not root":                   {func() (int64, error) { return 0, errors.New("only root") }, -1, "only root"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := beginPinProof(test.census)
			p.shared(10)
			got := p.leaked()
			switch {
			case test.leaked < 0:
				if got != nil || p.err == nil || !strings.Contains(p.err.Error(), test.why) {
					t.Errorf("leaked %v, error %v; want %q", got, p.err, test.why)
				}
			case got == nil || *got != test.leaked || p.err != nil:
				t.Errorf("leaked %v, error %v; want %d", got, p.err, test.leaked)
			}
		})
	}
}
