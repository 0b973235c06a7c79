package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

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
