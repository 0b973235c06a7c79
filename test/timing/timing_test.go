package timing

import (
	"math"
	"testing"
)

func TestWelch(t *testing.T) {
	t.Parallel()
	one, same, other := []float64{1, 2, 3, 4, 5}, []float64{5, 4, 3, 2, 1}, []float64{11, 12, 13, 14, 15}
	for _, test := range []struct {
		a, b []float64
		want float64
	}{{one, same, 0}, {one, other, -10}, {other, one, 10}, {one[:1], other, 0}, {nil, nil, 0}} {
		if got := welch(sampleOf(test.a), sampleOf(test.b)); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%v and %v: t %v, want %v", test.a, test.b, got, test.want)
		}
	}
}
