package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Until asks again and again until what returns nil, and fails the test when that takes too long.
func Until(t testing.TB, goal string, what func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var last error // not that there was no more time
	for {
		err := what(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", goal, patience, last)
		}
	}
}

// WaitWritable waits until all nodes say, one after the other, that they take pushes. Each for itself is not
// enough: the first node of a new cluster says so while it is the only member, and then waits for the others.
func WaitWritable(t testing.TB, nodes ...*Node) {
	t.Helper()
	Until(t, "all take pushes", func(ctx context.Context) error {
		for _, n := range nodes {
			if n.process != nil {
				select {
				case <-n.process.Ended():
					t.Fatalf("%s has ended", n.Name)
				default:
				}
			}
			if err := probe(ctx, n.Client(), n.URL("/readyz?for=write")); err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
		}
		return nil
	})
}

// Probe asks for a URL, and fails unless the answer is 200.
func Probe(ctx context.Context, url string) error { return probe(ctx, http.DefaultClient, url) }

func probe(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("%s: %s: %s", url, response.Status, strings.TrimSpace(string(text)))
	}
	return nil
}
