package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	spec "github.com/opencontainers/distribution-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// next is the path that a Link leads to; "" without one.
func next(header http.Header) string {
	path, _, _ := strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">")
	return path
}

// pages reads a list page by page, each from another node, and calls between before each page but the first.
func (b *balanced) pages(path string, names func(body []byte) []string, between func(seen []string)) (seen []string) {
	b.t.Helper()
	for path != "" {
		answer := b.must(http.StatusOK, call{method: http.MethodGet, path: path})
		seen = append(seen, names(answer.Body.Bytes())...)
		if path = next(answer.Header()); path != "" {
			between(seen)
		}
	}
	return seen
}

// Whatever comes and goes while a list is read, before the place that the reader has come to, behind it or just there:
// what is there all the time is listed once, in order, and what has gone before its turn is not.
func TestPagesWhileTagsComeAndGo(t *testing.T) {
	t.Parallel()
	b := balance(t)
	body := image(b.push("a/b", "config"), "")
	put := func(tag string) { b.put(http.StatusCreated, "a/b", tag, typeImage, body) }
	remove := func(tag string) {
		b.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + tag})
	}
	var stays, want []string
	for i := range 20 {
		stays = append(stays, fmt.Sprintf("stays-%02d", i))
		for _, tag := range []string{stays[i], fmt.Sprintf("goes-%02d", i), fmt.Sprintf("tomorrow-%02d", i)} {
			put(tag)
		}
	}
	round := 0
	seen := b.pages("/v2/a/b/tags/list?n=3", tagNames, func(seen []string) {
		last := seen[len(seen)-1]
		put(fmt.Sprintf("before-%02d", round))
		put(last + "-behind")                          // is next
		remove(fmt.Sprintf("tomorrow-%02d", 19-round)) // far behind
		if strings.HasPrefix(last, "goes") {
			remove(last) // the place itself
		}
		if round > 0 {
			remove(fmt.Sprintf("before-%02d", round-1))
		}
		round++
	})
	if !slices.IsSorted(seen) || len(slices.Compact(slices.Clone(seen))) != len(seen) {
		t.Errorf("not in order, or twice: %q", seen)
	}
	for _, tag := range seen {
		if strings.HasPrefix(tag, "stays") && !strings.HasSuffix(tag, "behind") {
			want = append(want, tag)
		}
		if strings.HasPrefix(tag, "before") {
			t.Errorf("%s came behind the reader's back", tag)
		}
	}
	if !slices.Equal(want, stays) {
		t.Errorf("of what stays %q, want %q", want, stays)
	}
	if slices.Contains(seen, "tomorrow-19") {
		t.Error("tomorrow-19 was deleted long before")
	}
}

// The same of referrers.
func TestPagesWhileReferrersComeAndGo(t *testing.T) {
	t.Parallel()
	b := balance(t)
	config := b.push("a/b", "config")
	refer := func(artifactType string) string {
		body := image(config, `,"artifactType":"`+artifactType+`","subject":{"mediaType":"`+typeImage+`","digest":"`+absent+`","size":2}`)
		d := digest.FromString(body).String()
		b.put(http.StatusCreated, "a/b", d, typeImage, body)
		return d
	}
	var stays []string
	for i := range 9 {
		stays = append(stays, refer(fmt.Sprintf("stays-%02d", i)))
	}
	round := 0
	seen := b.pages("/v2/a/b/referrers/"+absent+"?n=2", manifestDigests, func(seen []string) {
		round++
		refer(fmt.Sprintf("before-%02d", round))
		behind := refer(fmt.Sprintf("tomorrow-%02d", round))
		if last := seen[len(seen)-1]; round == 2 {
			b.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + last})
		}
		b.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + behind})
	})
	if !slices.Equal(seen, stays) {
		t.Errorf("%q, want %q", seen, stays)
	}
}

func tagNames(body []byte) []string {
	var list spec.TagList
	_ = json.Unmarshal(body, &list) // no names are not those that are wanted
	return list.Tags
}

func manifestDigests(body []byte) (all []string) {
	var list v1.Index
	_ = json.Unmarshal(body, &list) // as in tagNames
	for _, one := range list.Manifests {
		all = append(all, one.Digest.String())
	}
	return all
}
