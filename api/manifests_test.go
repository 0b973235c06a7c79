package api_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
)

// index is an index of manifests, which are of this media type.
func index(mediaType string, children ...string) string {
	all := make([]string, len(children))
	for i, d := range children {
		all[i] = `{"mediaType":"` + mediaType + `","digest":"` + d + `","size":2}`
	}
	return `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[` + strings.Join(all, ",") + `]}`
}

// putManifest puts a manifest into a/b, by tag or, if that is "", by its digest, which it returns.
func (w *world) putManifest(tag, mediaType, body string) string {
	w.t.Helper()
	d := digest.FromString(body).String()
	if tag == "" {
		tag = d
	}
	w.must(http.StatusCreated, call{method: http.MethodPut, path: "/v2/a/b/manifests/" + tag, header: []string{"Content-Type: " + mediaType}, body: body})
	return d
}

// A manifest of 4 MiB, the least that clients count on and the most that they get, goes in and comes out.
func TestLargestManifest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := httptest.NewServer(w)
	defer server.Close()
	body := []byte(image(w.push("a/b", "config"), ""))
	body = append(body, bytes.Repeat([]byte(" "), 4<<20-len(body))...)
	exchange := func(method string, status int, send []byte) []byte {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/v2/a/b/manifests/v1", bytes.NewReader(send))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", typeImage)
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // it is only read
		b, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != status {
			t.Fatalf("%s: %s %v", method, answer.Status, err)
		}
		return b
	}
	exchange(http.MethodPut, http.StatusCreated, body)
	if have := exchange(http.MethodGet, http.StatusOK, nil); !bytes.Equal(have, body) {
		t.Errorf("%d bytes, not those that were pushed", len(have))
	}
	exchange(http.MethodPut, http.StatusRequestEntityTooLarge, append(body, ' '))
}

// Indexes that list their child twice, one in the other: whoever follows each mention has 2^40 to follow.
func TestDeepIndexes(t *testing.T) {
	t.Parallel()
	const levels = 40
	w := newWorld(t)
	all := []string{w.pushImage("", "")}
	mediaType := typeImage
	w.seen = nil
	for range levels {
		child := all[len(all)-1]
		all = append(all, w.putManifest("", typeIndex, index(mediaType, child, child)))
		mediaType = typeIndex
	}
	top := all[levels]
	w.putManifest("top", typeIndex, index(typeIndex, all[levels-1], all[levels-1]))
	for _, reference := range []string{"top", top} {
		w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + reference})
	}
	w.must(http.StatusMethodNotAllowed, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + all[0]})
	for i := range all {
		w.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + all[levels-i]})
	}
	w.must(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/b/manifests/top"})
	if have, want := len(w.seen), levels+1+1+levels+1; have != want {
		t.Errorf("%d commands, want %d", have, want)
	}
	if wrong := w.findings(); len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
}

// unused is a store whose every method panics.
type unused struct{ blobstore.Store }

// HEAD of a manifest, which clients ask for most, is answered from the state alone, wherever the body is.
func TestHeadManifestNeedsNoStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bodies := map[string]string{"small": image(w.push("a/b", "config"), ""), "large": image(w.push("a/b", "config"), strings.Repeat(" ", 60<<10))}
	for tag, body := range bodies {
		w.putManifest(tag, typeImage, body)
	}
	config := api.DefaultConfig()
	config.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	g, err := api.New(config, api.Deps{Proposer: w.proposer, Consistency: w.consistency, State: w.state, Stores: only(unused{}, nil)})
	if err != nil {
		t.Fatal(err)
	}
	for tag, body := range bodies {
		d := digest.FromString(body).String()
		for _, reference := range []string{tag, d} {
			answer := send(t, g, call{method: http.MethodHead, path: "/v2/a/b/manifests/" + reference})
			if answer.Code != http.StatusOK {
				t.Errorf("%s: status %d", reference, answer.Code)
			}
			for name, want := range map[string]string{"Docker-Content-Digest": d, "Content-Length": itoa(len(body)), "Content-Type": typeImage, "ETag": `"` + d + `"`} {
				if have := answer.Header().Get(name); have != want {
					t.Errorf("%s: %s is %q, want %q", reference, name, have, want)
				}
			}
		}
	}
}

// Nothing is compressed on its way: a digest is that of the bytes that come, and a length is their number.
func TestNothingIsCompressed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.pushImage("v1", strings.Repeat(" ", 4096))
	layer := w.push("a/b", strings.Repeat("x", 4096))
	for _, path := range []string{"a/b/manifests/v1", "a/b/manifests/" + d, "a/b/blobs/" + layer, "a/b/tags/list", "_catalog", "a/b/referrers/" + d} {
		plain := w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/" + path})
		asked := w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/" + path, header: []string{"Accept-Encoding: gzip, br, zstd"}})
		if asked.Header().Get("Content-Encoding") != "" || asked.Header().Get("Content-Length") != itoa(plain.Body.Len()) || asked.Body.String() != plain.Body.String() {
			t.Errorf("%s: %v, %d bytes", path, asked.Header(), asked.Body.Len())
		}
	}
}

// A client that finds the subject in the answer to a push need not keep an index of referrers itself. One that does so
// all the same, under the tag that the specification has for that, has pushed an ordinary tag: what the index
// lists refers to the subject because it says so.
func TestReferrersTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	subject := w.pushImage("v1", "")
	body := image(digest.FromString("config").String(), `,"artifactType":"application/sig","subject":{"mediaType":"`+typeImage+`","digest":"`+subject+`","size":2}`)
	signature := digest.FromString(body).String()
	answer := w.must(http.StatusCreated, call{method: http.MethodPut, path: "/v2/a/b/manifests/" + signature, header: []string{"Content-Type: " + typeImage}, body: body})
	if have := answer.Header().Get("OCI-Subject"); have != subject {
		t.Errorf("OCI-Subject %q, want %q", have, subject)
	}
	says := w.pushImage("", `,"annotations":{"says":"nothing of a subject"}`)
	tag := strings.Replace(subject, ":", "-", 1)
	listed := index(typeImage, signature, says)
	w.putManifest(tag, typeIndex, listed)
	if have := w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + tag}).Body.String(); have != listed {
		t.Errorf("%s", have)
	}
	if have := w.must(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/tags/list"}).Body.String(); !strings.Contains(have, `["`+tag+`","v1"]`) {
		t.Errorf("%s", have)
	}
	referrers := call{method: http.MethodGet, path: "/v2/a/b/referrers/" + subject}
	if have := w.must(http.StatusOK, referrers).Body.String(); strings.Count(have, `"digest":`) != 1 || !strings.Contains(have, signature) {
		t.Errorf("%s", have)
	}
	w.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + tag})
	if have := w.must(http.StatusOK, referrers).Body.String(); !strings.Contains(have, signature) {
		t.Errorf("without the tag: %s", have)
	}
}
