// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// print shows every part's row, sums of parts that are one thing in pieces, and
// says whether all chosen ones, given with their inputs, have passed.
func (b *book) print(w io.Writer, chosen map[string]string) bool {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\npart\tkernel\toperations\treports\tleaks\tverdict\tminutes\tmore")
	ok := true
	for i, p := range parts {
		r := b.row(p.Name)
		inputs, isChosen := chosen[p.Name]
		if r == nil {
			fmt.Fprintf(t, "%s\t%s\t\t\t\tnever run\n", p.Name, p.Kernel)
		} else {
			fmt.Fprintln(t, r.cells(isChosen && r.Inputs != inputs))
		}
		if isChosen {
			ok = ok && good(r)
		}
		if sum := b.sum(i); sum != nil {
			fmt.Fprintln(t, sum.cells(false))
		}
	}
	t.Flush()
	return ok
}

func good(r *row) bool {
	return r != nil && (r.Verdict == pass || r.Verdict == notRun && os.Getenv("CI") != "true")
}

func (r *row) cells(old bool) string {
	verdict := r.Verdict
	if old {
		verdict += ", of older files"
	}
	var more []string
	for _, name := range slices.Sorted(maps.Keys(r.More)) {
		more = append(more, fmt.Sprintf("%s %d", name, r.More[name]))
	}
	if r.Detail != "" {
		more = append(more, strings.ReplaceAll(r.Detail, "\n", "; "))
	}
	return fmt.Sprintf("%s\t%s\t%d\t%d\t%d\t%s\t%.1f\t%s", r.Part, r.Kernel, r.Operations, r.Reports, r.Leaks, verdict, r.Seconds/60, strings.Join(more, ", "))
}

// family is what parts in pieces have in common, "" for a part in one.
func family(name string) string {
	before, _, ok := strings.Cut(name, "/")
	if !ok {
		return ""
	}
	return before
}

// sum adds up the pieces whose last is parts[last]; nil if it is none's last.
func (b *book) sum(last int) *row {
	name := family(parts[last].Name)
	if name == "" || last+1 < len(parts) && family(parts[last+1].Name) == name {
		return nil
	}
	sum := &row{Part: name + ", all", Kernel: parts[last].Kernel, Verdict: pass, More: make(map[string]int64)}
	for _, p := range parts {
		if family(p.Name) != name {
			continue
		}
		r := b.row(p.Name)
		if r == nil || r.Verdict != pass {
			sum.Verdict = "not complete"
		}
		if r == nil {
			continue
		}
		sum.Operations += r.Operations
		sum.Reports += r.Reports
		sum.Leaks += r.Leaks
		sum.Seconds += r.Seconds
		for k, n := range r.More {
			sum.More[k] += n
		}
	}
	return sum
}
