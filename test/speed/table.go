package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// compare measures all works and writes the table.
func compare(ctx context.Context, o options, home string, out io.Writer) error {
	t := table{out: out}
	t.head(o)
	number := uint64(0)
	for _, w := range works() {
		if !o.only.MatchString(w.name) {
			continue
		}
		err := measure(ctx, o, home, w, &number, func(clients int, all []series) { t.rows(w, clients, all) })
		if err != nil {
			return err
		}
	}
	t.foot()
	return t.err
}

// table is written line by line, as the numbers come.
type table struct {
	out    io.Writer
	slower int // rows in which one node is slower than what it is compared with
	err    error
}

func (t *table) print(format string, args ...any) {
	_, err := fmt.Fprintf(t.out, format, args...)
	t.err = cmp.Or(t.err, err)
}

const columns = "%-28s %7s  %-13s %9s %9s %9s  %-5s  %11s  %8s\n"

func (t *table) head(o options) {
	t.print("median, least and most of %d rounds of %s at each in turn; cpu is the servers' processor time of a request\n\n", o.rounds, o.window)
	t.print(columns, "", "clients", "", "median", "least", "most", "", "ratio", "cpu ms")
}

// rows writes a line for each registry; the first is the measure of the others.
func (t *table) rows(w work, clients int, all []series) {
	scale, unit := 1.0, "req/s"
	if w.bytes > 0 {
		scale, unit = float64(w.bytes)/(1<<20), "MiB/s"
	}
	first := all[0].rate()
	for i, s := range all {
		rate, ratio := s.rate(), ""
		if i > 0 {
			ratio = fmt.Sprintf("%.2f", rate.median/first.median)
			if rate.below(first) {
				ratio += " slower"
			}
		}
		if i == 1 && rate.below(first) {
			t.slower++
		}
		t.print(columns, w.name, fmt.Sprint(clients), s.registry, number(rate.median*scale), number(rate.least*scale),
			number(rate.most*scale), unit, ratio, fmt.Sprintf("%.2f", float64(s.busy())/float64(time.Millisecond)))
	}
}

func (t *table) foot() {
	t.print(`
Both sync before they answer a push: zot the bytes, their directory, the log and the state; distribution each of
its files and links, and the directory of each link. It syncs no directory that it makes, nor that of the blob.
Three nodes share the processors and the disk of this machine, and write each blob as often as it has replicas.

slower: the best round is below distribution's worst. That is so for one node in %d rows.
`, t.slower)
}

func number(f float64) string {
	if f < 100 {
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.0f", f)
}

// spread is what several measurements of the same come to.
type spread struct{ median, least, most float64 }

// below reports whether even the most is less than the least of another.
func (s spread) below(other spread) bool { return s.most < other.least }

func (s series) rate() spread {
	var all []float64
	for _, r := range s.rounds {
		all = append(all, r.rate)
	}
	return spread{median(all), slices.Min(all), slices.Max(all)}
}

// busy is the processor time of a request in the round in the middle.
func (s series) busy() time.Duration {
	var all []time.Duration
	for _, r := range s.rounds {
		all = append(all, r.busy)
	}
	return median(all)
}

// median is the lower of two in the middle.
func median[T cmp.Ordered](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)-1)/2]
}
