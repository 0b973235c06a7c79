// Package timing compares how long two things take, to see whether somebody who is asked tells them apart by it.
package timing

import (
	"math"
	"slices"
	"testing"
	"time"
)

// Compare runs two things in turns, b.N times each, and reports the mean and the median of both in nanoseconds, and
// Welch's t of the means without the slowest tenth of both together, which is what else the machine does. Beyond 4.5 either way they
// differ for whoever asks often enough; how much, the medians say.
func Compare(b *testing.B, one, other string, run [2]func()) {
	b.Helper()
	var took [2][]float64
	for n := 0; b.Loop(); n++ {
		for i := range 2 {
			which := (i + n) % 2 // each is the first as often as the other
			begin := time.Now()
			run[which]()
			took[which] = append(took[which], float64(time.Since(begin)))
		}
	}
	both := slices.Concat(took[0], took[1])
	slices.Sort(both)
	limit := both[len(both)*9/10]
	var of [2]sample
	for i, name := range []string{one, other} {
		slices.Sort(took[i])
		b.ReportMetric(sampleOf(took[i]).mean, name+"-mean-ns")
		b.ReportMetric(took[i][len(took[i])/2], name+"-median-ns")
		of[i] = sampleOf(slices.DeleteFunc(took[i], func(ns float64) bool { return ns > limit }))
	}
	b.ReportMetric(welch(of[0], of[1]), "t")
}

// sample is what is known of some measurements.
type sample struct{ n, mean, variance float64 }

func sampleOf(all []float64) sample {
	s := sample{n: float64(len(all))}
	for _, x := range all {
		s.mean += x / s.n
	}
	for _, x := range all {
		s.variance += (x - s.mean) * (x - s.mean) / (s.n - 1)
	}
	return s
}

// welch is the difference of two means by what chance makes of it. It is 0 for too few measurements.
func welch(a, b sample) float64 {
	if a.n < 2 || b.n < 2 {
		return 0
	}
	return (a.mean - b.mean) / math.Sqrt(a.variance/a.n+b.variance/b.n)
}
