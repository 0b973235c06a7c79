package bench

import (
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFailover measures, for a leader that is killed and for one that is stopped in order, how long
// it takes from the signal until a follower's write succeeds. Run it with -benchtime 50x.
func BenchmarkFailover(b *testing.B) {
	for _, how := range []struct {
		name   string
		signal syscall.Signal
	}{{"SIGKILL", syscall.SIGKILL}, {"SIGTERM", syscall.SIGTERM}} {
		b.Run(how.name, func(b *testing.B) {
			all := processes(b, 3)
			all[0].until(b, http.MethodPost, "/set?value=1")
			var took []time.Duration
			for i := range b.N {
				old := leader(b, all)
				other := all[0]
				if other == old {
					other = all[1]
				}
				other.until(b, http.MethodPost, "/set?value=2")
				began := time.Now()
				ended := make(chan struct{})
				go func() { // waited for below
					defer close(ended)
					old.end(how.signal)
				}()
				if how.signal == syscall.SIGTERM {
					// The leader takes writes until it hands over: the gap is what writes before and after see.
					took = append(took, longestWrite(b, other, began))
				} else {
					other.until(b, http.MethodPost, fmt.Sprintf("/set?value=%d", 3+i))
					took = append(took, time.Since(began))
				}
				<-ended
				old.start(b)
				old.until(b, http.MethodGet, "/value")
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
			b.ReportMetric(float64(took[len(took)*9/10].Milliseconds()), "p90-ms")
			b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "max-ms")
		})
	}
}

// longestWrite writes one after the other for two seconds and returns how long the slowest took.
func longestWrite(b *testing.B, at *process, since time.Time) time.Duration {
	b.Helper()
	longest := time.Duration(0)
	for time.Since(since) < 2*time.Second {
		began := time.Now()
		at.until(b, http.MethodPost, "/set?value=7")
		longest = max(longest, time.Since(began))
	}
	return longest
}
