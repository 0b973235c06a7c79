package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
)

// balanced is a load balancer without stickiness: each request goes to the next node.
type balanced struct {
	*members
	next atomic.Int64
}

// balance makes a cluster behind a balancer.
func balance(t testing.TB) *balanced {
	t.Helper()
	return &balanced{members: join(t).serve()}
}

// ServeHTTP has the next node answer.
func (b *balanced) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.nodes[b.next.Add(1)%int64(len(b.nodes))].ServeHTTP(w, r)
}

func (b *balanced) must(status int, c call) *httptest.ResponseRecorder {
	b.t.Helper()
	answer := send(b.t, b, c)
	if answer.Code != status {
		b.t.Fatalf("%s %s: %d %s, want %d", c.method, c.path, answer.Code, answer.Body, status)
	}
	return answer
}

// push uploads a blob in two chunks.
func (b *balanced) push(repository, text string) string {
	b.t.Helper()
	at := b.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/" + repository + "/blobs/uploads/"}).Header().Get("Location")
	half := len(text) / 2
	at = b.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: text[:half]}).Header().Get("Location")
	b.must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(at, text), body: text[half:]})
	return digest.FromString(text).String()
}

func (b *balanced) put(status int, repository, reference, mediaType, body string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.must(status, call{method: http.MethodPut, path: "/v2/" + repository + "/manifests/" + reference, header: []string{"Content-Type: " + mediaType}, body: body})
}

// everywhere sends a request to each node, and all must answer with this status, and alike.
func (b *balanced) everywhere(status int, c call) *httptest.ResponseRecorder {
	b.t.Helper()
	first := b.nodes[0].must(status, c)
	for _, n := range b.nodes[1:] {
		answer := n.must(status, c)
		for _, name := range []string{"Content-Type", "Docker-Content-Digest", "ETag", "Content-Length", "Link", "Content-Range"} {
			if answer.Header().Get(name) != first.Header().Get(name) {
				b.t.Errorf("%s %s: %s is %q and %q", c.method, c.path, name, answer.Header().Get(name), first.Header().Get(name))
			}
		}
		if withoutID(answer) != withoutID(first) {
			b.t.Errorf("%s %s: %s and %s", c.method, c.path, answer.Body, first.Body)
		}
	}
	return first
}

// withoutID is the body of an answer without the id of its request.
func withoutID(answer *httptest.ResponseRecorder) string {
	return strings.ReplaceAll(answer.Body.String(), answer.Header().Get("X-Request-Id"), "")
}

// Who got 201 from any node finds it at every node, and what is gone is gone everywhere, also where its absence
// was asked for before.
func TestReadAfterWrite(t *testing.T) {
	t.Parallel()
	b := balance(t)
	for i := range 6 {
		tag := "v" + itoa(i)
		b.everywhere(http.StatusNotFound, call{method: http.MethodHead, path: "/v2/a/b/manifests/" + tag})
		config := b.push("a/b", "config"+tag)
		body := image(config, "")
		b.put(http.StatusCreated, "a/b", tag, typeImage, body)
		have := b.everywhere(http.StatusOK, call{method: http.MethodHead, path: "/v2/a/b/manifests/" + tag}).Header().Get("Docker-Content-Digest")
		b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + have})
		b.everywhere(http.StatusOK, call{method: http.MethodHead, path: "/v2/a/b/blobs/" + config})
		b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/blobs/" + config})
		b.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + tag})
		b.everywhere(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + tag})
		b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + have})
	}
}

// Of pushes that race at different nodes to make one tag, one makes it.
func TestRaceForATag(t *testing.T) {
	t.Parallel()
	b := balance(t)
	config := b.push("a/b", "config")
	const racers = 9
	codes := make([]int, racers)
	var all sync.WaitGroup
	for i := range racers {
		all.Go(func() {
			body := image(config, `,"annotations":{"n":"`+itoa(i)+`"}`)
			codes[i] = send(t, b, call{method: http.MethodPut, path: "/v2/a/b/manifests/v1", header: []string{"Content-Type: " + typeImage, "If-None-Match: *"}, body: body}).Code
		})
	}
	all.Wait()
	made := 0
	for _, code := range codes {
		switch code {
		case http.StatusCreated:
			made++
		case http.StatusPreconditionFailed:
		default:
			t.Errorf("status %d", code)
		}
	}
	if made != 1 {
		t.Errorf("%d made the tag", made)
	}
}

// What an index lists must be in the same repository, and may be listed twice.
func TestChildrenOfAnIndex(t *testing.T) {
	t.Parallel()
	b := balance(t)
	body := image(b.push("a/b", "config"), "")
	child := digest.FromString(body).String()
	b.put(http.StatusCreated, "a/b", child, typeImage, body)
	one := `{"mediaType":"` + typeImage + `","digest":"` + child + `","size":` + itoa(len(body)) + `}`
	index := `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[` + one + `,` + one + `]}`
	b.put(http.StatusCreated, "a/b", "all", typeIndex, index)
	nested := `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[{"mediaType":"` + typeIndex + `","digest":"` + digest.FromString(index).String() + `","size":2}]}`
	b.put(http.StatusCreated, "a/b", "nested", typeIndex, nested)
	b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/nested"})
	if answer := b.put(http.StatusNotFound, "x/y", "all", typeIndex, index); !strings.Contains(answer.Body.String(), "MANIFEST_BLOB_UNKNOWN") {
		t.Errorf("%s", answer.Body)
	}
}

// A blob that is mounted is there at every node, whoever has its bytes, and is one repository's own business from
// then on: what is deleted in one stays in the other. An upload that is begun because there is nothing to mount
// can be gone on with anywhere.
func TestMount(t *testing.T) {
	t.Parallel()
	b := balance(t)
	d := b.push("a/b", "layer")
	b.must(http.StatusCreated, call{method: http.MethodPost, path: "/v2/x/y/blobs/uploads/?mount=" + d + "&from=a/b"})
	b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/x/y/blobs/" + d})
	b.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/blobs/" + d})
	b.everywhere(http.StatusNotFound, call{method: http.MethodHead, path: "/v2/a/b/blobs/" + d})
	b.everywhere(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/b/blobs/" + d})
	b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/x/y/blobs/" + d})

	at := b.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/x/y/blobs/uploads/?mount=" + absent + "&from=a/b"}).Header().Get("Location")
	at = b.must(http.StatusAccepted, call{method: http.MethodPatch, path: at, body: "other"}).Header().Get("Location")
	b.must(http.StatusCreated, call{method: http.MethodPut, path: withDigest(at, "other")})
	b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/x/y/blobs/" + digest.FromString("other").String()})
}

// A manifest goes with all its tags, and a repository that has nothing left is told from one that never was.
func TestDeleteByDigest(t *testing.T) {
	t.Parallel()
	b := balance(t)
	body := image(b.push("a/b", "config"), "")
	for _, tag := range []string{"v1", "v2"} {
		b.put(http.StatusCreated, "a/b", tag, typeImage, body)
	}
	b.must(http.StatusAccepted, call{method: http.MethodDelete, path: "/v2/a/b/manifests/" + digest.FromString(body).String()})
	for _, tag := range []string{"v1", "v2"} {
		b.everywhere(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + tag})
	}
	if have := b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/tags/list"}).Body.String(); have != `{"name":"a/b","tags":[]}` {
		t.Errorf("%s", have)
	}
	b.everywhere(http.StatusNotFound, call{method: http.MethodGet, path: "/v2/a/c/tags/list"})
}

// A download that broke off at one node goes on at another.
func TestResumeElsewhere(t *testing.T) {
	t.Parallel()
	b := balance(t)
	path := "/v2/a/b/blobs/" + b.push("a/b", "0123456789")
	first := b.nodes[0].must(http.StatusPartialContent, call{method: http.MethodGet, path: path, header: []string{"Range: bytes=0-3"}})
	for _, n := range b.nodes[1:] {
		rest := n.must(http.StatusPartialContent, call{method: http.MethodGet, path: path, header: []string{"Range: bytes=4-", "If-Range: " + first.Header().Get("ETag")}})
		if have := first.Body.String() + rest.Body.String(); have != "0123456789" {
			t.Errorf("%q", have)
		}
	}
}

// Names that begin alike are each their own.
func TestNamesThatBeginAlike(t *testing.T) {
	t.Parallel()
	b := balance(t)
	names := []string{"app", "app-1", "app/x", "app1", "apple"}
	for _, name := range names {
		body := image(b.push(name, "config"), "")
		for _, tag := range []string{"v1", "v1-rc", "v1.0", "v11"} {
			b.put(http.StatusCreated, name, tag, typeImage, body)
		}
	}
	for _, name := range names {
		if have, want := b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/" + name + "/tags/list"}).Body.String(), fmt.Sprintf(`{"name":%q,"tags":["v1","v1-rc","v1.0","v11"]}`, name); have != want {
			t.Errorf("%s, want %s", have, want)
		}
	}
	var seen []string
	for next := "/v2/_catalog?n=2"; next != ""; {
		answer := b.must(http.StatusOK, call{method: http.MethodGet, path: next})
		list := strings.TrimSuffix(strings.TrimPrefix(answer.Body.String(), `{"repositories":[`), `]}`)
		seen = append(seen, strings.Split(strings.ReplaceAll(list, `"`, ""), ",")...)
		next, _, _ = strings.Cut(strings.TrimPrefix(answer.Header().Get("Link"), "<"), ">")
	}
	if strings.Join(seen, " ") != strings.Join(names, " ") {
		t.Errorf("%q", seen)
	}
}

// A manifest comes out as it went in: bytes, type, and the digest under which it was pushed.
func TestManifestsAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	b := balance(t)
	config := b.push("a/b", "config")
	docker := `{ "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "` + config + `", "size": 6}, "layers": [] }` + "\n"
	list := `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"` + digest.FromString(docker).String() + `","size":2,"platform":{"architecture":"amd64","os":"linux"}}]}`
	for name, one := range map[string]struct{ mediaType, sent, body string }{
		"a-docker": {"application/vnd.docker.distribution.manifest.v2+json", "", docker},
		"b-list":   {"application/vnd.docker.distribution.manifest.list.v2+json", "", list},
		"c-oci":    {typeImage, "; charset=utf-8", image(config, "")},
	} {
		if name == "b-list" {
			b.put(http.StatusCreated, "a/b", "child", "application/vnd.docker.distribution.manifest.v2+json", docker)
		}
		b.put(http.StatusCreated, "a/b", name, one.mediaType+one.sent, one.body)
		answer := b.everywhere(http.StatusOK, call{method: http.MethodGet, path: "/v2/a/b/manifests/" + name, header: []string{"Accept: text/plain"}})
		if answer.Body.String() != one.body || answer.Header().Get("Content-Type") != one.mediaType {
			t.Errorf("%s: %q as %s", name, answer.Body, answer.Header().Get("Content-Type"))
		}
	}
	body := image(config, `,"annotations":{"as":"sha512"}`)
	d := digest.SHA512.FromString(body).String()
	b.put(http.StatusCreated, "a/b", d+"?tag=long", typeImage, body)
	if have := b.everywhere(http.StatusOK, call{method: http.MethodHead, path: "/v2/a/b/manifests/long"}).Header().Get("Docker-Content-Digest"); have != d {
		t.Errorf("digest %s, want %s", have, d)
	}
	schema1 := `{"schemaVersion":1,"name":"a/b","tag":"v1","fsLayers":[]}`
	if answer := b.put(http.StatusBadRequest, "a/b", "old", "application/vnd.docker.distribution.manifest.v1+prettyjws", schema1); !strings.Contains(answer.Body.String(), "MANIFEST_INVALID") {
		t.Errorf("%s", answer.Body)
	}
}

// What clients get wrong, or do as few do, is understood also through a node that has to forward it.
func TestClientsOfManyKinds(t *testing.T) {
	t.Parallel()
	b := balance(t)
	server := listen(t, b.nodes[1])
	owned := func() string {
		return b.nodes[0].must(http.StatusNoContent, call{method: http.MethodGet, path: b.nodes[0].begin()}).Header().Get("Location")
	}
	for name, test := range map[string]struct {
		request string // %s stands for the path of an upload
		want    []int
	}{
		"length is not said": {"PATCH %s HTTP/1.1\r\nHost: zot\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", []int{202}},
		"unit of the range":  {"PATCH %s HTTP/1.1\r\nHost: zot\r\nContent-Length: 3\r\nContent-Range: bytes 0-2/3\r\n\r\nabc", []int{202}},
		"asks before":        {"PUT %s?digest=" + digest.FromString("abc").String() + " HTTP/1.1\r\nHost: zot\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", []int{100, 201}},
		"a slash too many":   {"PUT %s/?digest=" + digest.FromString("abc").String() + " HTTP/1.1\r\nHost: zot\r\nContent-Length: 3\r\n\r\nabc", []int{201}},
		"nothing to begin":   {"POST /v2/a/b/blobs/uploads HTTP/1.0\r\nHost: zot\r\n\r\n", []int{202}},
	} {
		t.Run(name, func(t *testing.T) {
			_, answers := dial(t, server, strings.Replace(test.request, "%s", owned(), 1))
			if have := statuses(t, answers); fmt.Sprint(have) != fmt.Sprint(test.want) {
				t.Errorf("statuses %v, want %v", have, test.want)
			}
		})
	}
}
