package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// TestGuesses has somebody guess at all nodes, through HAProxy, which says from where. Somebody else who comes through it
// is not held up.
func TestGuesses(t *testing.T) {
	p := withPasswords(t)
	p.Cluster = map[string]any{"trustedProxies": []string{"127.0.0.1"}}
	nodes := harness.StartEach(t, slices.Repeat([]harness.Plan{p}, 3)...)
	balancer := harness.Balance(t, ours, nodes...)
	from := func(address, password, lie string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+balancer.Address+"/v2/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("carol", password)
		if lie != "" {
			r.Header.Set("X-Forwarded-For", lie)
		}
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		once := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, to)
		}}}
		answer, err := once.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // it is not read
		return answer.StatusCode
	}
	for round := 1; ; round++ {
		guesser := fmt.Sprintf("127.0.1.%d", round)
		var last time.Time
		for n := range 3 * 5 {
			if n == 3*4 {
				last = time.Now() // before the fifth guess at any node, after which it has them wait for a second
			}
			if got := from(guesser, "guess", ""); got != http.StatusUnauthorized {
				t.Fatalf("guess %d: %d", n+1, got)
			}
		}
		var guessed, other []int
		for range nodes {
			guessed = append(guessed, from(guesser, "of carol", "127.0.0.3"))
			other = append(other, from("127.0.0.3", "of carol", guesser))
		}
		if time.Since(last) >= time.Second && round < 4 {
			continue // the second may have been over; four guessers of one account are all that may be
		}
		if want := slices.Repeat([]int{http.StatusTooManyRequests}, len(nodes)); !slices.Equal(guessed, want) {
			t.Errorf("who guessed, and lies from where: %v", guessed)
		}
		if want := slices.Repeat([]int{http.StatusOK}, len(nodes)); !slices.Equal(other, want) {
			t.Errorf("another: %v", other)
		}
		return
	}
}
