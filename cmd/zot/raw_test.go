package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/peer"
)

// rawAnswer is one of the answers on a connection.
type rawAnswer struct {
	status int
	header http.Header
	body   string
}

// raw sends these bytes to a node ("http://host:port"), and returns what it answers until it closes the connection. So the
// last request must say that it is, unless the node closes by itself.
// While there is no quorum it is sent again.
func raw(t *testing.T, node, text string) (all []rawAnswer) {
	t.Helper()
	return rawBy(t, (&net.Dialer{}).DialContext, strings.TrimPrefix(node, "http://127.0.0.1:"), text)
}

// rawBy is raw over connections of a dialer to a port.
func rawBy(t *testing.T, dial func(ctx context.Context, network, address string) (net.Conn, error), port, text string) (all []rawAnswer) {
	t.Helper()
	insist(t, func() bool {
		c, err := dial(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		all = rawOver(t, c, text)
		return !slices.ContainsFunc(all, func(a rawAnswer) bool { return a.status == http.StatusServiceUnavailable })
	})
	return all
}

// rawOver is raw over a connection, which it closes.
func rawOver(t *testing.T, c net.Conn, text string) (all []rawAnswer) {
	t.Helper()
	defer c.Close() //nolint:errcheck // all was read
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(c, text) }() // it ends with the connection; a node need not read all
	answers := bufio.NewReader(c)
	for {
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			if len(all) == 0 || os.IsTimeout(err) {
				t.Errorf("%.200q: answers %v, then %v", text, all, err)
			}
			return all
		}
		body, _ := io.ReadAll(response.Body) // of a HEAD there is none, and the connection ends
		_ = response.Body.Close()
		if response.StatusCode >= http.StatusOK {
			all = append(all, rawAnswer{response.StatusCode, response.Header, string(body)})
		}
	}
}

// rawAs is the lines of a request that say who asks.
func rawAs(name string) string {
	if name == "" {
		return ""
	}
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+name)) + "\r\n"
}

const last = "Connection: close\r\n"

// rawWorld is three nodes at which root may do everything and alice all in team. Both team/app and secret/x have an image with the tag v1.
type rawWorld struct {
	at, roots []string
	secret    string // what is in the layer of secret/x
	manifest  string // of team/app
}

func newRawWorld(t *testing.T) *rawWorld {
	t.Helper()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice")+htpasswdLine(t, "root"))
	w := &rawWorld{secret: "what is secret"}
	w.at, w.roots, _, _ = threeWith(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "apikey": true}, "accessControl": {
		"repositories": {"team/**": {"policies": [{"users": ["alice"], "actions": ["read", "create", "update", "delete"]}]}, "secret/**": {"defaultPolicy": []}},
		"adminPolicy": {"users": ["root"], "actions": ["read", "create", "update", "delete"]}}`, passwords))
	for repository, layer := range map[string]string{"secret/x": w.secret, "team/app": "layer"} {
		url := w.at[0] + "/v2/" + repository
		d := digest.FromString(layer)
		wish{method: "POST", url: url + "/blobs/uploads/?digest=" + d.String(), name: "root", password: "root", body: layer}.must(t, 201)
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[]}`, d, len(layer))
		wish{method: "PUT", url: url + "/manifests/v1", name: "root", password: "root", body: manifest, header: []string{"Content-Type: application/vnd.oci.image.manifest.v1+json"}}.must(t, 201)
		if repository == "team/app" {
			w.manifest = manifest
		}
	}
	return w
}

// unchanged sees to it that there is nothing but what was there at the beginning, on any node.
func (w *rawWorld) unchanged(t *testing.T) {
	t.Helper()
	for _, node := range w.at {
		get := func(path string) string {
			return wish{method: "GET", url: node + path, name: "root", password: "root"}.must(t, 200).body
		}
		if have, want := get("/v2/_catalog"), `{"repositories":["secret/x","team/app"]}`; have != want {
			t.Errorf("catalog %s", have)
		}
		for _, repository := range []string{"secret/x", "team/app"} {
			if have, want := get("/v2/"+repository+"/tags/list"), `{"name":"`+repository+`","tags":["v1"]}`; have != want {
				t.Errorf("tags %s", have)
			}
		}
		if have := get("/v2/team/app/manifests/v1"); have != w.manifest {
			t.Errorf("manifest %s", have)
		}
	}
}

// upload begins one as alice that node 0 owns, and returns where it is.
func (w *rawWorld) upload(t *testing.T) string {
	t.Helper()
	begun := wish{method: "POST", url: w.at[0] + "/v2/team/app/blobs/uploads/", name: "alice", password: "alice"}.must(t, 202)
	return wish{method: "PATCH", url: w.at[0] + begun.header.Get("Location"), name: "alice", password: "alice", body: "abc"}.must(t, 202).header.Get("Location")
}

// TestRaw sends what no well-behaved client sends.
func TestRaw(t *testing.T) {
	t.Parallel()
	w := newRawWorld(t)
	t.Run("paths", w.paths)
	t.Run("paths of uploads elsewhere", w.uploadPaths)
	t.Run("mounts", w.mounts)
	t.Run("smuggling", w.smuggling)
	t.Run("internal headers", w.internalHeaders)
	t.Run("port between nodes", w.peerPort)
	t.Run("large", w.large)
	w.unchanged(t)
	logged(t, base64.StdEncoding.EncodeToString([]byte("alice:alice")), w.secret)
}

// Whatever a path looks like, a repository is read by the name by which it is judged, and nothing is served that this name
// does not allow.
func (w *rawWorld) paths(t *testing.T) {
	const moved = 307 // to where it would be if it was tidied up: by http.ServeMux, in whose paths there is nothing to protect
	long := strings.Repeat("a/", 15<<10)
	for target, want := range map[string]int{
		// Own ones, in other words.
		"/v2/team/app/manifests/v1": 200, "/v2/team%2fapp/manifests/v1": 200, "/v2/team%2Fapp%2Fmanifests%2fv1": 200, "/v2/%74eam/app/manifests/v1": 200,
		"/v2/team/app/manifests/v1/": 200, "/v%32/team/app/manifests/v1": 200, "http://127.0.0.1/v2/team/app/manifests/v1": 200,
		"http://evil.example:1/v2/team/app/manifests/v1": 200, "/v2/team/app/manifests/v1?method=DELETE&_method=DELETE": 200,

		// Another's, in its own words and in others.
		"/v2/secret/x/manifests/v1": 403, "/v2/secret%2fx/manifests/v1": 403, "/v2/secret%2Fx%2Fmanifests%2Fv1": 403, "/v2/%73ecret/x/manifests/v1": 403,
		"/v2/secret/x/manifests/v1/": 403, "/v2/secret/x/manifests/v1%2f": 403, "/v2/secret/x/manifests/v1?repository=team/app&name=team/app": 403,
		"http://127.0.0.1/v2/secret/x/manifests/v1": 403, "https://team/v2/secret/x/manifests/v1": 403, "/v2/secret/x/tags/list": 403,
		"/v2/secret/x/blobs/" + digest.FromString(w.secret).String(): 403, "/v2/secret/x/referrers/" + digest.FromString(w.secret).String(): 403,

		// A blob of another's below a repository of one's own.
		"/v2/team/app/blobs/" + digest.FromString(w.secret).String(): 404,

		// What would be another's if somebody tidied it up.
		"/v2/team/../secret/x/manifests/v1": 400, "/v2/team/app/../../secret/x/manifests/v1": 400, "/v2/team/%2e%2e/secret/x/manifests/v1": 400,
		"/v2/team/%2E%2e/secret/x/manifests/v1": 400, "/v2/team/..%2fsecret/x/manifests/v1": 400, "/v2/team/.%2e/secret/x/manifests/v1": 400,
		"/v2/team/..;/secret/x/manifests/v1": 400, "/v2/team/%252e%252e/secret/x/manifests/v1": 400, "/v2/team/..%5csecret/x/manifests/v1": 400,
		"/v2/team/..%c0%afsecret/x/manifests/v1": 400, "/v2/./secret/x/manifests/v1": 400, "/v2/%2e/secret/x/manifests/v1": 400,
		"/v2/../v2/secret/x/manifests/v1": 400, "/v2//secret/x/manifests/v1": 400, "/v2/secret//x/manifests/v1": 400, "/v2/secret/x//manifests/v1": 400,
		"/v2/secret/x/manifests//v1": 404, "/v2/secret/x/manifests/v1//": 404, "/v2/%2fsecret/x/manifests/v1": 400, "/v2/secret/x/./manifests/v1": 400,
		"/v2/secret/x/manifests/./v1": 404, "/v2/secret/x/manifests/../manifests/v1": 400, "/v2/secret/x./manifests/v1": 400, "/v2/secret/x../manifests/v1": 400,
		"/v2/team/app/manifests/v1/../../../../secret/x/manifests/v1": 400, "/v2/team/app/manifests/..%2f..%2f..%2fsecret%2fx%2fmanifests%2fv1": 400,
		"/v2/team/app/blobs/../../../secret/x/manifests/v1": 400, "/v2/team/app/blobs/uploads/../../../../secret/x/manifests/v1": 400,
		"/v2/SECRET/x/manifests/v1": 400, "/v2/Secret/X/manifests/v1": 400, "/v2/secret/%C5%BF/manifests/v1": 400,
		"/v2/secret%5cx/manifests/v1": 400, `/v2/secret\x/manifests/v1`: 400, "/v2/secret;/x/manifests/v1": 400, "/v2/secret/x;a=b/manifests/v1": 400,
		"/v2/secret/x%00/manifests/v1": 400, "/v2/secret%00/x/manifests/v1": 400, "/v2/secret/x%0a/manifests/v1": 400, "/v2/secret/x%0d%0aHost:%20x/manifests/v1": 400,
		"/v2/secret/x%20/manifests/v1": 400, "/v2/%20secret/x/manifests/v1": 400, "/v2/secret/x%ff/manifests/v1": 400, "/v2/secret/x%3f/manifests/v1": 400,
		"/v2/secret/x%23/manifests/v1": 400, "/v2/secret/x#/manifests/v1": 400, "/v2/secret/x/manifests/v1%00": 404, "/v2/secret/x/manifests/v1%0a": 404,
		"/v2/*/manifests/v1": 400, "/v2/**/manifests/v1": 400, "/v2/team/*/manifests/v1": 400,
		"/v2/" + long + "x/manifests/v1": 400,

		// What is not below /v2/, nor anywhere.
		"//v2/secret/x/manifests/v1": moved, "///v2/secret/x/manifests/v1": moved, "/V2/secret/x/manifests/v1": 404, "/v2%2fsecret/x/manifests/v1": 403,
		"/%76%32/secret/x/manifests/v1": 403, "/./v2/secret/x/manifests/v1": moved, "/x/../v2/secret/x/manifests/v1": moved, "/v2secret/x/manifests/v1": 404,
		"/livez/../v2/secret/x/manifests/v1": moved, "http://127.0.0.1//v2/secret/x/manifests/v1": moved, "v2/secret/x/manifests/v1": 400,
		"*": 400, "/v2/secret/x/manifests/v1 HTTP/1.1 x": 400, "http://127.0.0.1/%zz": 400, "/v2/%2": 400, "mailto:v2/secret/x/manifests/v1": moved,
		"/node/status": 404, "/store/default/copies": 404,
	} {
		for n, node := range w.at {
			all := raw(t, node, "GET "+target+" HTTP/1.1\r\nHost: zot\r\n"+rawAs("alice")+last+"\r\n")
			if len(all) != 1 || all[0].status != want || strings.Contains(all[0].body, w.secret) || (want == 200) != (all[0].body == w.manifest) {
				t.Errorf("node %d: GET %.100s: %v, want %d", n, target, all, want)
			}
		}
		if want == 200 {
			continue
		}
		for _, method := range []string{"PUT", "DELETE", "POST", "PATCH"} {
			text := method + " " + target + " HTTP/1.1\r\nHost: zot\r\nX-HTTP-Method-Override: GET\r\n" + rawAs("alice") + last + "Content-Length: 2\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n{}"
			if all := raw(t, w.at[1], text); len(all) != 1 || all[0].status/100 == 2 {
				t.Errorf("%s %.100s: %v", method, target, all)
			}
		}
	}
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method"} {
		text := "POST /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: zot\r\n" + header + ": DELETE\r\n" + rawAs("alice") + last + "Content-Length: 0\r\n\r\n"
		if all := raw(t, w.at[0], text); len(all) != 1 || all[0].status != 405 {
			t.Errorf("%s: %v", header, all)
		}
	}
	for _, header := range []string{"X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Prefix", "X-Accel-Redirect"} {
		text := "GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: zot\r\n" + header + ": /v2/secret/x/manifests/v1\r\n" + rawAs("alice") + last + "\r\n"
		if all := raw(t, w.at[0], text); len(all) != 1 || all[0].body != w.manifest {
			t.Errorf("%s: %v", header, all)
		}
	}
	for query, want := range map[string]int{"n=1&n=1000": 400, "last=a&last=b": 400, "n=1;n=2": 400, "n=%zz": 400, "n=1000": 200} {
		all := raw(t, w.at[2], "GET /v2/_catalog?"+query+" HTTP/1.1\r\nHost: zot\r\n"+rawAs("alice")+last+"\r\n")
		if len(all) != 1 || all[0].status != want || strings.Contains(all[0].body, "secret") || want == 200 && all[0].body != `{"repositories":["team/app"]}` {
			t.Errorf("catalog with %s: %v, want %d", query, all, want)
		}
	}
}

// The owner of an upload reads a path as the node does that was asked.
func (w *rawWorld) uploadPaths(t *testing.T) {
	at := w.upload(t)
	id := at[strings.LastIndexByte(at, '/')+1:]
	for n, node := range w.at {
		for target, want := range map[string]struct{ alice, root int }{
			at:                                     {204, 204},
			"/v2/team%2fapp/blobs/uploads/" + id:   {204, 204},
			"/v2/team/app%2fblobs%2fuploads/" + id: {204, 204},
			"http://evil.example/v2/team/app/blobs/uploads/" + id:      {204, 204},
			"/v2/team/other/blobs/uploads/" + id:                       {404, 404},
			"/v2/secret/x/blobs/uploads/" + id:                         {403, 404},
			"/v2/secret%2fx/blobs/uploads/" + id:                       {403, 404},
			"/v2/secret/x%2fblobs%2fuploads%2f" + id:                   {403, 404},
			"/v2/team/app/../../secret/x/blobs/uploads/" + id:          {400, 400},
			"/v2/team/app/blobs/uploads/../../../secret/x/" + id:       {404, 404},
			"/v2/team/%2e%2e/secret/x/blobs/uploads/" + id:             {400, 400},
			"/v2/secret/x/../../team/app/blobs/uploads/" + id:          {400, 400},
			"/v2/team/app/blobs/uploads/" + id + "%2f..%2fx":           {404, 404},
			"/v2/team/app/blobs/uploads/" + id + "%00":                 {404, 404},
			"/v2/team/app/blobs/uploads/" + id + "?digest=1&digest=2":  {400, 400},
			"/v2/team/app/blobs/uploads/" + strings.ToUpper(id):        {404, 404},
			"/v2/team/app/blobs/uploads/" + strings.Repeat("a", 8<<10): {404, 404},
		} {
			for name, want := range map[string]int{"alice": want.alice, "root": want.root, "": 401} {
				if all := raw(t, node, "GET "+target+" HTTP/1.1\r\nHost: zot\r\n"+rawAs(name)+last+"\r\n"); len(all) != 1 || all[0].status != want {
					t.Errorf("node %d: GET %.150s as %q: %v, want %d", n, target, name, all, want)
				}
			}
			if want.alice/100 == 2 {
				continue
			}
			for _, method := range []string{"PATCH", "PUT", "DELETE"} {
				if all := raw(t, node, method+" "+target+" HTTP/1.1\r\nHost: zot\r\n"+rawAs("alice")+last+"Content-Length: 1\r\n\r\nx"); len(all) != 1 || all[0].status/100 == 2 {
					t.Errorf("node %d: %s %.150s: %v", n, method, target, all)
				}
			}
		}
	}
	w.holds(t, at, "0-2")
}

// holds sees to it that an upload is as far, through any node.
func (w *rawWorld) holds(t *testing.T, at, want string) {
	t.Helper()
	for n, node := range w.at {
		if have := (wish{method: "GET", url: node + at, name: "alice", password: "alice"}).must(t, 204).header.Get("Range"); have != want {
			t.Errorf("node %d: Range %q, want %q", n, have, want)
		}
	}
}

// What may not be read is not mounted, whichever way it is written.
func (w *rawWorld) mounts(t *testing.T) {
	blob := digest.FromString(w.secret).String()
	for query, want := range map[string]int{
		"from=secret/x": 202, "from=secret%2Fx": 202, "from=team/../secret/x": 202, "from=secret//x": 202, "from=/secret/x": 202, "from=secret/x/": 202,
		"from=SECRET/x": 202, "from=secret/x%00": 202, "from=team/app&from=secret/x": 400, "from=secret/x&from=team/app": 400, "from=team/app;from=secret/x": 400,
		"from=team/app&mount=x": 400, "": 202, "from[]=secret/x": 202, "FROM=secret/x": 202,
	} {
		for n, node := range w.at {
			all := raw(t, node, "POST /v2/team/app/blobs/uploads/?mount="+blob+"&"+query+" HTTP/1.1\r\nHost: zot\r\n"+rawAs("alice")+last+"Content-Length: 0\r\n\r\n")
			if len(all) != 1 || all[0].status != want {
				t.Errorf("node %d: %s: %v, want %d", n, query, all, want)
			}
			if got := (wish{method: "HEAD", url: node + "/v2/team/app/blobs/" + blob, name: "alice", password: "alice"}).settled(t); got.status != 404 {
				t.Fatalf("node %d: %s has mounted it", n, query)
			}
		}
	}
}

// smuggled is a request that nobody may send as a client, and that would delete an image where a node is believed.
const smuggled = "DELETE /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: zot\r\nX-Zot-Caller: {\"Everything\":true}\r\nContent-Length: 0\r\n\r\n"

// Bytes of a body do not become a request of a node to another, whatever a client says of where the body ends. Each request
// is about an upload that another node has, so that it is sent on; behind it comes one more by which the connection is told to be in order.
func (w *rawWorld) smuggling(t *testing.T) {
	at := w.upload(t)
	chunk := func(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }
	const ends = "0\r\n\r\n"
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	for name, test := range map[string]struct {
		method  string // of what is about the upload
		headers string
		body    string
		want    []int // without that of the request behind, which is wanted if the last is none of 400, 417, 431, 501 and 505
	}{
		// In order, with something in the body that looks like a request.
		"length":                          {"PATCH", length(len(smuggled)), smuggled, []int{202}},
		"chunks":                          {"PATCH", "Transfer-Encoding: chunked\r\n", chunk(smuggled) + ends, []int{202}},
		"chunks in other case":            {"PATCH", "transfer-encoding: Chunked\r\n", chunk(smuggled) + ends, []int{202}},
		"a body where none is":            {"GET", length(len(smuggled)), smuggled, []int{204}},
		"chunks where none are":           {"GET", "Transfer-Encoding: chunked\r\n", chunk(smuggled) + ends, []int{204}},
		"extensions":                      {"PATCH", "Transfer-Encoding: chunked\r\n", "3;a=b;c=\"d\"\r\nxyz\r\n0;e\r\n\r\n", []int{202}},
		"a trailer":                       {"PATCH", "Transfer-Encoding: chunked\r\nTrailer: X-Zot-Caller\r\n", chunk("xyz") + "0\r\nX-Zot-Caller: {\"Everything\":true}\r\n\r\n", []int{202}},
		"a trailer that is not announced": {"PATCH", "Transfer-Encoding: chunked\r\n", chunk("xyz") + "0\r\nContent-Length: 500\r\nX-Zot-Caller: {\"Everything\":true}\r\n\r\n", []int{202}},
		"expects to go on":                {"PATCH", "Expect: 100-continue\r\n" + length(3), "xyz", []int{202}},
		"the same length twice":           {"PATCH", length(3) + length(3), "xyz", []int{202}},

		// The client may only mean one of two things; what is behind is a request of a client who gave no name, to this node.
		"length and chunks": {"PATCH", length(len(ends)+len(smuggled)) + "Transfer-Encoding: chunked\r\n", ends + smuggled, []int{202, 401}},
		"chunks and length": {"PATCH", "Transfer-Encoding: chunked\r\n" + length(4), chunk(smuggled) + ends, []int{202}},
		"no length":         {"PATCH", "", smuggled, []int{202, 401}},
		"behind a GET":      {"GET", "", smuggled, []int{204, 401}},
		"a continued line":  {"PATCH", "X: y\r\n Content-Length: 5\r\n", smuggled, []int{202, 401}},
		"bare line feeds":   {"PATCH", "Content-Length: 0\nX: y\n", smuggled, []int{202, 401}},

		// What means nothing.
		"two lengths":              {"PATCH", length(0) + length(len(smuggled)), smuggled, []int{400}},
		"two lengths in one":       {"PATCH", "Content-Length: 0, 5\r\n", smuggled, []int{400}},
		"a length with a sign":     {"PATCH", "Content-Length: +5\r\n", smuggled, []int{400}},
		"a length below nothing":   {"PATCH", "Content-Length: -1\r\n", smuggled, []int{400}},
		"a length in hexadecimal":  {"PATCH", "Content-Length: 0x5\r\n", smuggled, []int{400}},
		"a length beyond all":      {"PATCH", "Content-Length: 99999999999999999999\r\n", smuggled, []int{400}},
		"no number":                {"PATCH", "Content-Length: \r\n", smuggled, []int{400}},
		"encoding of another name": {"PATCH", "Transfer-Encoding: xchunked\r\n", ends + smuggled, []int{501}},
		"two encodings":            {"PATCH", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", ends + smuggled, []int{501}},
		"two encodings in one":     {"PATCH", "Transfer-Encoding: identity, chunked\r\n", ends + smuggled, []int{501}},
		"gzip":                     {"PATCH", "Transfer-Encoding: gzip, chunked\r\n", ends + smuggled, []int{501}},
		"no encoding":              {"PATCH", "Transfer-Encoding: \r\n" + length(3), smuggled, []int{501}},
		"a space before the colon": {"PATCH", "Transfer-Encoding : chunked\r\n", ends + smuggled, []int{400}},
		"a tab before the colon":   {"PATCH", "Content-Length\t: 5\r\n", smuggled, []int{400}},
		"a name with a zero":       {"PATCH", "Content-Length\x00: 5\r\n", smuggled, []int{400}},
		"a value with a zero":      {"PATCH", "X: a\x00b\r\n", smuggled, []int{400}},
		"a value with a return":    {"PATCH", "X: a\rContent-Length: 5\r\n", smuggled, []int{400}},
		"a line without a colon":   {"PATCH", "Content-Length\r\n", smuggled, []int{400}},
		"another expectation":      {"PATCH", "Expect: 200-maybe\r\n" + length(3), "xyz", []int{417}},
		"two hosts":                {"PATCH", "Host: evil\r\n" + length(3), "xyz", []int{400}},
		"a size that is none":      {"PATCH", "Transfer-Encoding: chunked\r\n", "zz\r\n" + smuggled, []int{400}},
		"a size with a sign":       {"PATCH", "Transfer-Encoding: chunked\r\n", "-1\r\n" + smuggled, []int{400}},
		"a size beyond all":        {"PATCH", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n" + smuggled, []int{400}},
		"a chunk that is too long": {"PATCH", "Transfer-Encoding: chunked\r\n", "3\r\nwxyz\r\n0\r\n\r\n" + smuggled, []int{400}},
		"an extension without end": {"PATCH", "Transfer-Encoding: chunked\r\n", "3;" + strings.Repeat("a", 64<<10) + "\r\nxyz\r\n0\r\n\r\n", []int{400}},

		// Other ways to another protocol.
		"an upgrade to WebSockets": {"PATCH", "Connection: Upgrade\r\nUpgrade: websocket\r\n" + length(3), "xyz", []int{202}},
		"an upgrade to HTTP/2":     {"GET", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", "", []int{204}},
		"CONNECT":                  {"CONNECT", length(len(smuggled)), smuggled, []int{405}},
		"TRACE":                    {"TRACE", "", "", []int{405}},
		"another method":           {"PATCH2", length(len(smuggled)), smuggled, []int{405}},
		"a method in small":        {"patch", length(len(smuggled)), smuggled, []int{405}},
	} {
		t.Run(name, func(t *testing.T) {
			at := w.upload(t)
			all := raw(t, w.at[1], test.method+" "+at+" HTTP/1.1\r\nHost: zot\r\n"+rawAs("alice")+test.headers+"\r\n"+test.body+
				"GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: zot\r\n"+rawAs("alice")+last+"\r\n")
			var have []int
			for _, a := range all {
				have = append(have, a.status)
			}
			want := test.want
			switch want[len(want)-1] {
			case 400, 417, 431, 501, 505:
			default:
				if len(all) > 0 && all[len(all)-1].status == 200 && all[len(all)-1].body != w.manifest {
					t.Errorf("what comes behind is answered with %s", all[len(all)-1].body)
				}
				if test.method != http.MethodConnect || len(all) > 1 { // behind a CONNECT newer versions of net/http answer nothing
					want = append(want, 200)
				}
			}
			if fmt.Sprint(have) != fmt.Sprint(want) {
				t.Errorf("%v, want %v", all, want)
			}
			for range 3 { // connections to the owner are in order
				if got := (wish{method: "GET", url: w.at[1] + at, name: "alice", password: "alice"}).settled(t); got.status != 204 {
					t.Errorf("afterwards: %d %s", got.status, got.body)
				}
			}
			if got := (wish{method: "GET", url: w.at[0] + "/v2/team/app/manifests/v1", name: "alice", password: "alice"}).settled(t); got.body != w.manifest {
				t.Fatalf("the image: %d %s", got.status, got.body)
			}
		})
	}
	w.holds(t, at, "0-2")
	for text, want := range map[string]int{
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00": 400, // HTTP/2 is for TLS
		"GET " + at + "\r\n\r\n":                                                                              400,
		"GET " + at + " HTTP/1.1\r\n" + rawAs("alice") + "\r\n":                                               400, // no host
		"GET " + at + " HTTP/3.0\r\nHost: zot\r\n\r\n":                                                        505,
		"GET  " + at + " HTTP/1.1\r\nHost: zot\r\n\r\n":                                                       400,
		"GET " + at + " HTTP/1.1\r\nHost: a b\r\n\r\n":                                                        400,
		"GET " + at + " HTTP/1.0\r\n" + rawAs("alice") + "\r\n":                                               204,
		"CONNECT zot:443 HTTP/1.1\r\nHost: zot\r\n" + last + "\r\n":                                           404,
		"\x16\x03\x01\x00\x05hello\r\n\r\n":                                                                   400,
		"GET " + at + " HTTP/1.1\r\nHost: zot\r\nAuthorization: Basic x\r\n" + rawAs("alice") + last + "\r\n": 401, // the first counts
	} {
		if all := raw(t, w.at[1], text); len(all) != 1 || all[0].status != want {
			t.Errorf("%.60q: %v, want %d", text, all, want)
		}
	}
}

// What nodes tell each other of a client no client says of itself, neither for the node that it asks nor for one beyond.
func (w *rawWorld) internalHeaders(t *testing.T) {
	at := w.upload(t)
	const admin = `{"Name":"root","Everything":true}`
	for name, lines := range map[string]string{
		"a caller":             "X-Zot-Caller: " + admin + "\r\n",
		"a caller twice":       "X-Zot-Caller: {}\r\nX-Zot-Caller: " + admin + "\r\n",
		"in another case":      "x-ZOT-caller: " + admin + "\r\n",
		"with underscores":     "X_Zot_Caller: " + admin + "\r\n",
		"dropped":              "Connection: X-Zot-Caller\r\n",
		"dropped, and another": "X-Zot-Caller: " + admin + "\r\nConnection: close, X-Zot-Caller, Authorization, X-Zot-Origin, X-Request-Id\r\n",
		"kept":                 "Connection: keep-alive\r\nKeep-Alive: X-Zot-Caller\r\nX-Zot-Caller: " + admin + "\r\n",
		"continued":            "X-Other: a\r\n X-Zot-Caller: " + admin + "\r\n",
		"of a proxy":           "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-User: root\r\nX-Forwarded-Proto: https\r\nForwarded: for=127.0.0.1;proto=https;host=evil.example\r\nX-Remote-User: root\r\nX-Real-Ip: 127.0.0.1\r\n",
		"another origin":       "X-Zot-Origin: https://evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Request-Id: of the client\r\n",
	} {
		for n, node := range w.at {
			for who, want := range map[string]int{"": 401, "alice": 403} {
				for _, target := range []string{"GET /v2/secret/x/manifests/v1", "GET /v2/secret/x/blobs/uploads/" + at[strings.LastIndexByte(at, '/')+1:], "DELETE /v2/secret/x/manifests/v1"} {
					all := raw(t, node, target+" HTTP/1.1\r\nHost: zot\r\n"+rawAs(who)+lines+last+"\r\n")
					if len(all) != 1 || all[0].status != want || strings.Contains(fmt.Sprint(all), "evil") || strings.Contains(fmt.Sprint(all), "of the client") || strings.Contains(fmt.Sprint(all), "https:") {
						t.Errorf("%s, node %d: %s as %q: %v, want %d", name, n, target, who, all, want)
					}
				}
			}
			all := raw(t, node, "GET "+at+" HTTP/1.1\r\nHost: zot\r\n"+rawAs("alice")+lines+last+"\r\n")
			if len(all) != 1 || all[0].status != 204 || len(all[0].header["X-Request-Id"]) != 1 || strings.Contains(fmt.Sprint(all), "of the client") {
				t.Errorf("%s, node %d: %v", name, n, all)
			}
		}
	}
}

// Whoever has no certificate of the cluster is told nothing at the port between the nodes.
func (w *rawWorld) peerPort(t *testing.T) {
	for n := range w.at {
		address := w.peerAddress(t, n)
		request := "GET /v2/secret/x/manifests/v1 HTTP/1.1\r\nHost: zot\r\nX-Zot-Caller: {\"Everything\":true}\r\n" + last + "\r\n"
		for _, protocols := range [][]string{nil, {peer.BlobProtocol}, {"http/1.1"}, {"h2"}} {
			stranger := pair(t, 1).loaded(t)
			for _, certificates := range [][]tls.Certificate{nil, {stranger}} {
				d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: protocols, Certificates: certificates, MinVersion: tls.VersionTLS12}}
				c, err := d.DialContext(t.Context(), "tcp", address)
				if err != nil {
					continue
				}
				// With TLS 1.3 a client learns only when it reads that its certificate was not taken.
				_ = c.SetDeadline(time.Now().Add(patience))
				_, _ = io.WriteString(c, request)
				said, err := io.ReadAll(c)
				_ = c.Close()
				if len(said) > 0 || os.IsTimeout(err) {
					t.Errorf("node %d, %v: a stranger hears %q, %v", n, protocols, said, err)
				}
			}
		}
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, request)
		said, err := io.ReadAll(c)
		_ = c.Close()
		if bytes.Contains(said, []byte("HTTP/1")) || os.IsTimeout(err) {
			t.Errorf("node %d: a stranger without TLS hears %q, %v", n, said, err)
		}
	}
}

// peerAddress is where the others reach a node.
func (w *rawWorld) peerAddress(t *testing.T, n int) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(t.TempDir()), "..", "*", "*", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) { // of another test, that has ended
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`"node": "n(\d)", "listen": "([^"]+)"`).FindSubmatch(text)
		if found != nil && bytes.Contains(text, []byte(`"rootDirectory": "`+w.roots[n]+`"`)) {
			return string(found[2])
		}
	}
	t.Fatalf("no configuration of node %d among %v", n, files)
	return ""
}

// What is too large is refused before it is read, and before it is asked whose it is.
func (w *rawWorld) large(t *testing.T) {
	const image = "application/vnd.oci.image.manifest.v1+json"
	lines := strings.Repeat("a: b\r\n", 20_000)
	credentials := func(kind, text string) string { return "Authorization: " + kind + " " + text + "\r\n" }
	long := strings.Repeat("x", 40<<10)
	announced := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	for name, test := range map[string]struct {
		request string // without host and end; a body that is announced is never sent
		want    int
	}{
		"a header":                    {"GET /v2/ HTTP/1.1\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n", 431},
		"many headers":                {"GET /v2/ HTTP/1.1\r\n" + lines, 431},
		"a path":                      {"GET /v2/" + strings.Repeat("a", 80<<10) + "/tags/list HTTP/1.1\r\n", 431},
		"a password":                  {"GET /v2/ HTTP/1.1\r\n" + credentials("Basic", base64.StdEncoding.EncodeToString([]byte("alice:"+long[:30<<10]))), 401},
		"a name":                      {"GET /v2/ HTTP/1.1\r\n" + credentials("Basic", base64.StdEncoding.EncodeToString([]byte(long[:30<<10]+":x"))), 401},
		"what is no base64":           {"GET /v2/ HTTP/1.1\r\n" + credentials("Basic", long), 401},
		"an API key":                  {"GET /v2/ HTTP/1.1\r\n" + credentials("Basic", base64.StdEncoding.EncodeToString([]byte("alice:zak_"+long[:30<<10]))), 401},
		"a token":                     {"GET /v2/ HTTP/1.1\r\n" + credentials("Bearer", long), 401},
		"a token with parts":          {"GET /v2/ HTTP/1.1\r\n" + credentials("Bearer", strings.Repeat("e30.", 10<<10)), 401},
		"a token of one's own kind":   {"GET /v2/ HTTP/1.1\r\n" + credentials("Bearer", "eyJhbGciOiJFZERTQSIsImtpZCI6IngifQ."+long+".eA"), 401},
		"another kind":                {"GET /v2/ HTTP/1.1\r\n" + credentials("Negotiate", long), 401},
		"a session":                   {"GET /v2/ HTTP/1.1\r\nX-ZOT-API-CLIENT: zot-ui\r\nCookie: session=" + long + "\r\n", 401},
		"many sessions":               {"GET /v2/ HTTP/1.1\r\nX-ZOT-API-CLIENT: zot-ui\r\nCookie: " + strings.Repeat("session="+strings.Repeat("s", 43)+"; ", 800) + "a=b\r\n", 401},
		"a manifest of nobody":        {"PUT /v2/team/app/manifests/new HTTP/1.1\r\n" + announced(4<<20) + "Content-Type: " + image + "\r\n", 401},
		"a manifest of another":       {"PUT /v2/secret/x/manifests/new HTTP/1.1\r\n" + rawAs("alice") + announced(4<<20) + "Content-Type: " + image + "\r\n", 403},
		"a manifest and a bad login":  {"PUT /v2/team/app/manifests/new HTTP/1.1\r\n" + credentials("Basic", "eDp4") + announced(4<<20) + "Content-Type: " + image + "\r\n", 401},
		"an upload of nobody":         {"POST /v2/team/app/blobs/uploads/?digest=" + digest.FromString("").String() + " HTTP/1.1\r\n" + announced(1<<40), 401},
		"a wish for a key":            {"POST /zot/auth/apikey HTTP/1.1\r\n" + rawAs("alice") + announced(1<<20), 413},
		"a wish for a key, of nobody": {"POST /zot/auth/apikey HTTP/1.1\r\n" + announced(8<<10), 401},
		"a wish for a token":          {"POST /zot/auth/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n" + announced(1<<20), 413},
		"a query":                     {"GET /zot/auth/token?scope=" + long + " HTTP/1.1\r\n" + rawAs("alice"), 400},
		"many scopes":                 {"GET /zot/auth/token?" + strings.Repeat("scope=a:b:c&", 3000) + " HTTP/1.1\r\n" + rawAs("alice"), 400},
		"a body of a logout":          {"POST /auth/logout HTTP/1.1\r\nX-ZOT-API-CLIENT: zot-ui\r\n" + announced(1<<40), 200},
	} {
		all := raw(t, w.at[1], test.request+"Host: zot\r\n"+last+"\r\n")
		if len(all) != 1 || all[0].status != test.want {
			t.Errorf("%s: %.300v, want %d", name, fmt.Sprint(all), test.want)
		}
	}
}
