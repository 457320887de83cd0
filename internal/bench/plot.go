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
	"gonum.org/v1/plot/vg/draw"
)

// Picture draws throughput against record size, batch 32 or whatever a variant
// has at most, into base.svg and base.png: one part for each machine that does
// not emulate another one, each in the regime that it had more trials in.
func (r *Report) Picture(base string) error {
	var parts []*plot.Plot
	for _, run := range r.Runs {
		if run.Machine == "qemu" {
			continue
		}
		p, err := r.part(run.Machine)
		if err != nil {
			return err
		}
		parts = append(parts, p)
	}
	if len(parts) == 0 {
		return fmt.Errorf("bench: nothing to draw: what is emulated makes no picture")
	}
	for _, format := range []string{"svg", "png"} {
		if err := save(parts, format, base+"."+format); err != nil {
			return fmt.Errorf("bench: draw: %w", err)
		}
	}
	return nil
}

func (r *Report) part(machine string) (*plot.Plot, error) {
	p := plot.New()
	regime := r.busiest(machine)
	p.Title.Text = "Payload throughput, " + machine + ", batches of 32 where there are any, processors " + regime
	p.X.Label.Text, p.Y.Label.Text = "bytes per record", "MB/s"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Add(plotter.NewGrid())
	lines := r.lines(machine, regime)
	if len(lines) == 0 {
		return nil, fmt.Errorf("bench: no trial of the %s regime counted: nothing to draw", regime)
	}
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return nil, fmt.Errorf("bench: draw: %w", err)
	}
	p.Y.Min /= 8 // room for the legend
	return p, nil
}

// save writes the picture; a comment with the licence takes the place of the
// line that says it is XML 1.0, which it may go without.
func save(parts []*plot.Plot, format, name string) error {
	const width, height = 9 * vg.Inch, 6 * vg.Inch
	canvas, err := draw.NewFormattedCanvas(width, height*vg.Length(len(parts)), format)
	if err != nil {
		return err
	}
	tiles := draw.Tiles{Rows: len(parts), Cols: 1}
	for i, p := range parts {
		p.Draw(tiles.At(draw.New(canvas), 0, i))
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	text := b.Bytes()
	if declaration, rest, ok := bytes.Cut(text, []byte("?>\n")); ok && bytes.HasPrefix(declaration, []byte("<?xml")) {
		text = append([]byte("<!-- SPDX-License-Identifier: MIT -->\n"), rest...)
	}
	return os.WriteFile(name, text, 0o644)
}

// busiest is the regime that the processors were in for most trials.
func (r *Report) busiest(machine string) string {
	trials := map[string]int{}
	for _, row := range r.Rows {
		if row.Machine == machine {
			trials[row.Regime] += row.Trials
		}
	}
	if trials["near"] > trials["far"] {
		return "near"
	}
	return "far"
}

// lines are the names and points of the variants that carry records.
func (r *Report) lines(machine, regime string) []any {
	var names []string
	points := map[string]plotter.XYs{}
	batch := map[string]int{}
	for _, row := range r.Rows {
		if row.Machine != machine || row.Regime != regime || row.Workload == trip || row.Workload == bare || row.Workload == asleep || row.Workload == awake {
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
