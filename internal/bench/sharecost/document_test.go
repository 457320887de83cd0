// SPDX-License-Identifier: MIT

package sharecost

import (
	"slices"
	"strings"
	"testing"
)

// rounds whose medians are plain to see.
func rounds(pin, mapping, uring float64) []Round {
	r := Round{Share: pin + mapping + 10, Pin: pin, Map: mapping, Done: 20, BareUnmap: 5, Close: 5, Register: uring - 10, Unregister: 10}
	slow := r
	slow.Share, slow.Pin = 100*r.Share, 100*r.Pin
	return []Round{r, slow, r}
}

func TestRow(t *testing.T) {
	row := NewRow(Small, mebibyte, rounds(85, 30, 100))
	if row.Rounds != 2 || row.Median.Pin != 85 || row.Median.Total() != 150 || row.Median.Unpin() != 15 || row.Median.Rest() != 15 {
		t.Errorf("%+v", row)
	}
	if row.PinUnpinRatio != 1 || row.TotalRatio != 1.5 {
		t.Errorf("pin and unpin 1 to %v, total 1 to %v", row.PinUnpinRatio, row.TotalRatio)
	}
}

func TestTargets(t *testing.T) {
	r := &Report{Rows: []Row{
		NewRow(Small, 4096, rounds(900, 30, 100)), // too small to count
		NewRow(Small, mebibyte, rounds(85, 30, 100)),
		NewRow(Small, 1024*mebibyte, rounds(95.5, 40, 100)),
		NewRow(THP, 1024*mebibyte, rounds(1, 30, 10)),
	}}
	var met []bool
	for _, target := range r.Targets() {
		met = append(met, target.Met())
	}
	// 1 GiB misses the first and the third, THP all of its own.
	if want := []bool{false, false, false, false, false}; !slices.Equal(met, want) {
		t.Errorf("met: %v", met)
	}
	r.Rows = r.Rows[:2]
	met = met[:0]
	for _, target := range r.Targets() {
		met = append(met, target.Met())
	}
	// What was not measured is not met.
	if want := []bool{true, false, true, false, false}; !slices.Equal(met, want) {
		t.Errorf("met: %v", met)
	}
	var b strings.Builder
	if err := r.Document(&b, "a machine"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 1 MiB | 0.09 |", "not measured", "on a machine", "1.00 | 1 MiB, 4 KiB | met"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the document lacks %q:\n%s", want, b.String())
		}
	}
}
