// SPDX-License-Identifier: MIT

//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// Picture draws throughput against record size, batch 32 or whatever a variant
// has at most, into base.svg and base.png. It takes the regime with more trials.
func (r *Report) Picture(base string) error {
	p := plot.New()
	regime := r.busiest()
	p.Title.Text = "Payload throughput, batches of 32 where there are any, processors " + regime
	p.X.Label.Text, p.Y.Label.Text = "bytes per record", "MB/s"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Add(plotter.NewGrid())
	lines := r.lines(regime)
	if len(lines) == 0 {
		return fmt.Errorf("bench: no trial of the %s regime counted: nothing to draw", regime)
	}
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return fmt.Errorf("bench: draw: %w", err)
	}
	p.Y.Min /= 8 // room for the legend
	for _, format := range []string{"svg", "png"} {
		if err := save(p, format, base+"."+format); err != nil {
			return fmt.Errorf("bench: draw: %w", err)
		}
	}
	return nil
}

// save writes the picture; a comment with the licence takes the place of the
// line that says it is XML 1.0, which it may go without.
func save(p *plot.Plot, format, name string) error {
	to, err := p.WriterTo(9*vg.Inch, 6*vg.Inch, format)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := to.WriteTo(&b); err != nil {
		return err
	}
	text := b.Bytes()
	if declaration, rest, ok := bytes.Cut(text, []byte("?>\n")); ok && bytes.HasPrefix(declaration, []byte("<?xml")) {
		text = append([]byte("<!-- SPDX-License-Identifier: MIT -->\n"), rest...)
	}
	return os.WriteFile(name, text, 0o644)
}

// busiest is the regime that the machine was in for most trials.
func (r *Report) busiest() string {
	trials := map[string]int{}
	for _, row := range r.Rows {
		trials[row.Regime] += row.Trials
	}
	if trials["near"] > trials["far"] {
		return "near"
	}
	return "far"
}

// lines are the names and points of the variants that carry records.
func (r *Report) lines(regime string) []any {
	var names []string
	points := map[string]plotter.XYs{}
	batch := map[string]int{}
	for _, row := range r.Rows {
		if row.Regime != regime || row.Workload == trip || row.Workload == bare {
			continue
		}
		name := row.Workload + ", " + row.Peer
		if _, ok := points[name]; !ok {
			names = append(names, name)
		}
		if row.Batch > batch[name] {
			batch[name], points[name] = row.Batch, nil
		}
		if row.Batch == batch[name] {
			points[name] = append(points[name], plotter.XY{X: float64(row.Size), Y: row.RecordsPerS * float64(row.Size) / 1e6})
		}
	}
	var lines []any
	for _, name := range names {
		lines = append(lines, name, points[name])
	}
	return lines
}
