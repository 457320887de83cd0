// SPDX-License-Identifier: MIT

package sharecost

// A Target is what a share should not cost more than, and what it cost.
type Target struct {
	What  string
	Bound float64
	Got   float64 // the worst
	At    string  // where that was
	Rows  int     // that were looked at; 0: not measured
}

// Met tells whether every row kept to the bound.
func (t Target) Met() bool { return t.Rows > 0 && t.Got <= t.Bound }

const mebibyte = 1 << 20

// Targets holds the report against what a share should cost.
func (r *Report) Targets() []Target {
	pinUnpin := func(row Row) float64 { return row.PinUnpinRatio }
	total := func(row Row) float64 { return row.TotalRatio }
	small := func(row Row) bool { return row.Pages == Small && row.Size >= mebibyte }
	huge := func(row Row) bool { return row.Pages != Small }
	gibibyte := func(row Row) bool { return huge(row) && row.Size == 1024*mebibyte }
	return []Target{
		r.worst("pin and unpin over io_uring, 4 KiB pages, from 1 MiB", 1.1, small, pinUnpin),
		r.worst("pin and unpin over io_uring, 2 MiB pages", 1.1, huge, pinUnpin),
		r.worst("all of a share over io_uring, 4 KiB pages, from 1 MiB", 1.5, small, total),
		r.worst("all of a share over io_uring, 2 MiB pages", 1.5, huge, total),
		r.worst("a share of 1 GiB, 2 MiB pages over 4 KiB pages", 0.35, gibibyte, func(row Row) float64 {
			return row.Median.Total() / r.total(Small, row.Size)
		}),
	}
}

func (r *Report) worst(what string, bound float64, pick func(Row) bool, value func(Row) float64) Target {
	t := Target{What: what, Bound: bound}
	for _, row := range r.Rows {
		if !pick(row) {
			continue
		}
		if v := value(row); t.Rows == 0 || v > t.Got {
			t.Got, t.At = v, bytes(row.Size)+", "+row.Pages
		}
		t.Rows++
	}
	return t
}

// total is the median of a whole share, 0 if it was not measured.
func (r *Report) total(pages string, size int) float64 {
	for _, row := range r.Rows {
		if row.Pages == pages && row.Size == size {
			return row.Median.Total()
		}
	}
	return 0
}
