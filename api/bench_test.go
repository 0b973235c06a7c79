package api_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/fsm"
)

// BenchmarkPutManifest pushes new manifests under a tag that moves, in turn to a repository of 10 tags and to one of
// 100,000, and reports how many times longer the second takes: one operation is a push to each.
func BenchmarkPutManifest(b *testing.B) {
	w := newWorld(b)
	repositories := []string{"few", "many"}
	for i, tags := range []int{10, 100_000} {
		w.tag(repositories[i], tags)
	}
	took := make([]time.Duration, len(repositories))
	for n := 0; b.Loop(); n++ {
		for i, repository := range repositories {
			c := put(repository, "moves", fmt.Sprintf(`,"annotations":{"n":"%d"}`, n))
			start := time.Now()
			w.must(http.StatusCreated, c)
			took[i] += time.Since(start)
		}
	}
	for i, repository := range repositories {
		b.ReportMetric(float64(took[i].Nanoseconds())/float64(b.N), repository+"-ns/push")
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), "many/few")
}

// put is a push of an image whose configuration is "config".
func put(repository, reference, more string) call {
	return call{
		method: http.MethodPut, path: "/v2/" + repository + "/manifests/" + reference,
		header: []string{"Content-Type: " + typeImage}, body: image(digest.FromString("config").String(), more),
	}
}

// tag makes a repository of so many tags.
func (w *world) tag(repository string, tags int) {
	w.t.Helper()
	const many = 50 // in one push
	w.push(repository, "config")
	reference := digest.FromString(put("", "", "").body).String()
	for made := 0; made < tags; {
		query := "?"
		for ; made < tags && (made%many > 0 || query == "?"); made++ {
			query += fmt.Sprintf("&tag=v%06d", made)
		}
		w.must(http.StatusCreated, put(repository, reference+query, ""))
	}
	err := w.state.View(func(v fsm.View) error {
		if have := len(v.Tags(repository, "", tags+1)); have != tags {
			w.t.Fatalf("%d tags, want %d", have, tags)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// fronts are a registry as it is, and behind what writes the lines of its requests.
func fronts(w *world) map[string]http.Handler {
	lines := func(level hclog.Level) *record.Writer {
		return record.New(record.Config{Log: hclog.New(&hclog.LoggerOptions{Level: level, Output: io.Discard, JSONFormat: true, IncludeLocation: true})})
	}
	return map[string]http.Handler{"bare": w, "silent": lines(hclog.Warn).Around(w), "logging": lines(hclog.Info).Around(w)}
}

// BenchmarkHead asks for a manifest, with the lines of requests and without.
func BenchmarkHead(b *testing.B) {
	w := newWorld(b)
	w.pushImage("v1", "")
	for name, h := range fronts(w) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				send(b, h, call{method: http.MethodHead, path: "/v2/a/b/manifests/v1", header: []string{"User-Agent: containerd/2.0", "Accept: " + typeImage}})
			}
		})
	}
}

// BenchmarkPull reads a layer of 256 MiB over a connection, with the lines of requests and without.
func BenchmarkPull(b *testing.B) {
	w := newWorld(b)
	d := w.push("a/b", strings.Repeat("a layer of some length, ", 256<<20/24))
	for name, h := range fronts(w) {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(h)
			defer server.Close()
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL+"/v2/a/b/blobs/"+d, http.NoBody)
				if err != nil {
					b.Fatal(err)
				}
				answer, err := server.Client().Do(r)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, answer.Body)
				if err := errors.Join(err, answer.Body.Close()); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n)
			}
		})
	}
}
