package entrance_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/api/entrance"
)

// door is a handler behind limits, of so many nodes. A client is named by a header.
type door struct {
	http.Handler
	t     *testing.T
	nodes int
}

func newDoor(t *testing.T, limits ...entrance.Limit) *door {
	t.Helper()
	d := &door{t: t, nodes: 1}
	d.Handler = entrance.NewLimits(entrance.LimitsConfig{
		Limits: limits,
		Client: func(r *http.Request) netip.Addr { return netip.MustParseAddr(r.Header.Get("From")) },
		Nodes:  func() int { return d.nodes },
		Free:   func(path string) bool { return path == "/livez" },
	}).Around(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return d
}

// passed is how many of n requests get through.
func (d *door) passed(n int, method, client string) (passed int) {
	d.t.Helper()
	for range n {
		switch w := sent(d.t, d, method, "/v2/", "From: "+client); w.Code {
		case http.StatusOK:
			passed++
		case http.StatusTooManyRequests:
		default:
			d.t.Fatalf("%d", w.Code)
		}
	}
	return passed
}

func (d *door) expect(want, n int, method, client string) {
	d.t.Helper()
	if got := d.passed(n, method, client); got != want {
		d.t.Errorf("%d of %d %ss of %s got through, want %d", got, n, method, client, want)
	}
}

// As many as the rate come at once, and then as many a second, from all together. Those who had nothing yet come first.
func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, entrance.Limit{Rate: 10})
		d.expect(10, 15, "GET", "192.0.2.1")
		d.expect(5, 15, "PUT", "192.0.2.2")
		d.expect(5, 15, "GET", "192.0.2.3")
		d.expect(0, 15, "GET", "192.0.2.4")
		time.Sleep(time.Second)
		d.expect(5, 15, "GET", "192.0.2.1") // what has come since then was spent before; he has sent nothing for a second
		time.Sleep(500 * time.Millisecond)
		d.expect(0, 15, "GET", "192.0.2.1")
		time.Sleep(time.Hour)
		d.expect(10, 15, "HEAD", "192.0.2.3")
	})
}

// What one method has used up, others have not; and what a method is refused is not taken from the rest.
func TestRatesOfMethods(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, entrance.Limit{Rate: 10}, entrance.Limit{Method: "GET", Rate: 5}, entrance.Limit{Method: "GET", Rate: 7})
		d.expect(5, 100, "GET", "192.0.2.1")
		d.expect(5, 100, "PUT", "192.0.2.1")
		time.Sleep(time.Second)
		d.expect(10, 100, "PUT", "192.0.2.1")
		time.Sleep(time.Second)
		d.expect(5, 100, "GET", "192.0.2.1")
		d.expect(3, 100, "GET", "192.0.2.2") // who had nothing yet
	})
}

// Who sends too many has nothing left himself, and leaves others theirs: of what all have, he gets no more than his part.
func TestOneOfManyClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, entrance.Limit{Rate: 10})
		d.expect(10, 1000, "GET", "192.0.2.1")
		modest, greedy, asked := 0, 0, 0
		rng := rand.New(rand.NewPCG(1, 2))
		for range 20_000 { // 20 s
			time.Sleep(time.Millisecond)
			greedy += d.passed(1, "GET", "192.0.2.1")
			if rng.IntN(200) == 0 {
				asked++
				modest += d.passed(1, "GET", "192.0.2.2")
			}
		}
		t.Logf("%d and %d of %d got through", greedy, modest, asked)
		if modest+greedy > 220 || 10*modest < 9*asked {
			t.Errorf("%d and %d of %d got through", greedy, modest, asked)
		}
	})
}

// The nodes share what is configured, also when one comes or goes. Each takes one a second at least.
func TestRateIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, entrance.Limit{Rate: 9})
		d.nodes = 3
		d.expect(3, 9, "GET", "192.0.2.1")
		time.Sleep(10 * time.Second)
		d.nodes = 1
		d.expect(9, 20, "GET", "192.0.2.1")
		d.nodes = 100
		time.Sleep(time.Second)
		d.expect(1, 9, "GET", "192.0.2.1")
		time.Sleep(time.Second)
		d.expect(1, 9, "GET", "192.0.2.1")
		d.nodes = 0
		time.Sleep(time.Second)
		d.expect(9, 20, "GET", "192.0.2.1")
	})
}

// Whoever has a network of IPv6 is one, and the memory that clients take has an end, behind which they are one together.
func TestManyAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, entrance.Limit{Method: "GET", Rate: 100_000}, entrance.Limit{Method: "PUT", Rate: 2})
		d.expect(2, 3, "PUT", "2001:db8::1")
		d.expect(0, 1, "PUT", "2001:db8::2")
		time.Sleep(time.Hour)
		for i := range 1 << 16 {
			d.passed(1, "GET", fmt.Sprintf("2001:db8:0:%x::1", i))
		}
		d.passed(100_000, "GET", "203.0.113.1") // there is no room for it
		d.expect(0, 1, "GET", "203.0.113.2")
		d.expect(1, 1, "GET", "2001:db8::1")
		time.Sleep(3 * time.Second)
		d.expect(1, 1, "GET", "203.0.113.2")
	})
}

// What is refused says when to come again, and is an error of the specification. Who watches over the node has no limit.
func TestTooMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, entrance.Limit{Rate: 10}, entrance.Limit{Method: "PUT", Rate: 1})
		d.expect(1, 1, "PUT", "192.0.2.1")
		w := sent(t, d, "PUT", "/v2/", "From: 192.0.2.1", "X-Request-Id: request-1")
		var body struct {
			Errors []struct {
				Code, Message string
				Detail        struct{ RequestID string }
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Errors) != 1 || body.Errors[0].Code != "TOOMANYREQUESTS" || body.Errors[0].Message == "" || body.Errors[0].Detail.RequestID != "request-1" {
			t.Errorf("%s: %v", w.Body, err)
		}
		h := w.Header()
		if w.Code != http.StatusTooManyRequests || h.Get("Retry-After") != "1" || h.Get("X-Rate-Limit-Limit") != "1.00" || h.Get("X-Rate-Limit-Duration") != "1" || !strings.HasPrefix(h.Get("Content-Type"), "application/json") {
			t.Errorf("%d %v", w.Code, h)
		}
		d.passed(20, "GET", "192.0.2.1")
		for range 20 {
			if w := sent(t, d, "GET", "/livez", "From: 192.0.2.1"); w.Code != http.StatusOK {
				t.Errorf("a probe is answered %d", w.Code)
			}
		}
	})
}

// No limit is no work.
func BenchmarkLimits(b *testing.B) {
	bare := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, limits := range map[string][]entrance.Limit{"none": nil, "two": {{Rate: 1 << 30}, {Method: "GET", Rate: 1 << 30}}} {
		h := entrance.NewLimits(entrance.LimitsConfig{
			Limits: limits, Client: func(*http.Request) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) },
			Nodes: func() int { return 3 }, Free: func(string) bool { return false },
		}).Around(bare)
		r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "/v2/", http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(nil, r)
			}
		})
	}
}
