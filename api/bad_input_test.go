package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// badInput is a request that is refused.
type badInput struct {
	name         string
	method, path string // {upload} stands for the Location of an upload that has got nothing yet
	header       []string
	body         string
	raw          bool // header and body are all that there is: nothing says how long the body is
	breaksOff    bool // the client sends nothing more

	status int
	code   string // "" for what net/http refuses
	judged bool   // as a command, in order with those that might make it a good one
	upload string // what the upload keeps, so that the client can go on; "" if the store has not heard of it
}

// Whatever is wrong with a request, it gets its error and changes nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v1 := w.pushImage("v1", "")
	w.pushImage("", `,"subject":{"mediaType":"`+typeImage+`","digest":"`+v1+`","size":2}`)
	w.push("a/b", "layer")
	server := httptest.NewServer(w)
	defer server.Close()
	address := server.Listener.Addr().String()
	var all []badInput
	for _, some := range [][]badInput{
		badPaths(), badNames(), badTags(v1), badDigests(), badPages(v1), badConditions(v1), badRanges(), badUploads(), badManifests(), badBodies(), badHTTP(),
	} {
		all = append(all, some...)
	}
	for _, one := range all {
		t.Run(one.name, func(t *testing.T) {
			one.path = strings.ReplaceAll(one.path, "{upload}", w.begin())
			index, contents, bytes := w.state.Position().Index, w.contents(), w.bytes()
			one.send(t, address)
			if w.state.Position().Index != index && !one.judged {
				t.Error("something was proposed")
			}
			if now := w.contents(); now != contents {
				t.Errorf("the state was\n%s\nand is\n%s", contents, now)
			}
			if now := w.bytes(); now != bytes+one.upload {
				t.Errorf("the store had\n%s\nand has\n%s", bytes, now)
			}
			w.forgetUploads()
		})
	}
	if wrong := w.findings(); len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
}

// connect sends the beginning of a request, and returns the connection and its answers.
func connect(t *testing.T, address, beginning string) (net.Conn, *bufio.Reader) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, beginning); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// send sends the request and judges its answer.
func (b badInput) send(t *testing.T, address string) {
	t.Helper()
	lines := append([]string{b.method + " " + b.path + " HTTP/1.1", "Host: zot", "Connection: close"}, b.header...)
	if !b.raw {
		lines = append(lines, "Content-Length: "+itoa(len(b.body)))
	}
	c, answers := connect(t, address, strings.Join(lines, "\r\n")+"\r\n\r\n"+b.body)
	if b.breaksOff {
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	response, err := http.ReadResponse(answers, &http.Request{Method: b.method})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != b.status {
		t.Fatalf("%d %s %v, want %d", response.StatusCode, body, err, b.status)
	}
	if b.method == http.MethodHead || b.code == "" {
		return
	}
	var said struct {
		Errors []struct {
			Code, Message string
			Detail        struct{ RequestID string }
		}
	}
	if err := json.Unmarshal(body, &said); err != nil || len(said.Errors) != 1 || said.Errors[0].Code != b.code || said.Errors[0].Message == "" {
		t.Fatalf("%s %v, want %s", body, err, b.code)
	}
	if id := response.Header.Get("X-Request-Id"); id == "" || said.Errors[0].Detail.RequestID != id {
		t.Errorf("the body has the request id %q, the header %q", said.Errors[0].Detail.RequestID, id)
	}
}

// contents is all that the state says of repositories and blobs.
func (w *world) contents() string {
	w.t.Helper()
	var b strings.Builder
	err := w.state.View(func(v fsm.View) error {
		repositories := append(v.Catalog("", 100), v.Vacant("", 100)...)
		for _, name := range append(repositories, "x/y") {
			r, err := v.Repository(name)
			fmt.Fprintln(&b, r, err, v.Tags(name, "", 100), v.DeletedTags(name))
			for _, m := range v.Manifests(name, "", 100) {
				blobs, manifests := v.References(name, m.Digest)
				fmt.Fprintln(&b, m, string(v.Body(name, m.Digest)), blobs, manifests, v.Referrers(name, m.Digest, "", fsm.Referrer{}, 100))
			}
		}
		for _, d := range v.WithCopies(fsm.DefaultStore, 1, "", 100) {
			blob, _ := v.Blob(fsm.DefaultStore, d)
			linked := v.LinkedIn(fsm.DefaultStore, d, "", 100)
			fmt.Fprintln(&b, d, blob, linked)
			for _, name := range linked {
				link, err := v.Link(name, d)
				link.Left, link.Renew = 0, false // time goes on
				fmt.Fprintln(&b, link, err)
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// bytes is all that the store has: copies, and then how much there is of each upload.
func (w *world) bytes() string {
	w.t.Helper()
	var b strings.Builder
	for id, err := range w.blobs.Copies(w.t.Context(), blobstore.CopyID{}) {
		fmt.Fprintln(&b, id, err)
	}
	for u, err := range w.blobs.Uploads(w.t.Context(), blobstore.UploadID{}) {
		if !u.Ended {
			fmt.Fprintf(&b, "%d bytes", u.Offset)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return b.String()
}

// findings is what does not fit in the state.
func (w *world) findings() (all []string) {
	w.t.Helper()
	err := w.state.View(func(v fsm.View) error {
		all = v.Check()
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// each makes a row of each value, whose name it is appended to.
func each(values []string, row func(value string) badInput) (all []badInput) {
	for _, value := range values {
		one := row(value)
		one.name += " " + fmt.Sprintf("%.80q", value)
		all = append(all, one)
	}
	return all
}

func badPaths() []badInput {
	return append(each([]string{"/", "/v2x/", "/v3/", "/v2/a", "/v2/a/b/", "/v2/a/b/manifests/v1//", "/v2/a/b/blobs", "/v2/a/b/tags", "/v2/a/b/uploads/x", "/v2/_catalog/x"}, func(path string) badInput {
		return badInput{name: "path", method: http.MethodGet, path: path, status: http.StatusNotFound, code: "UNSUPPORTED"}
	}), each([]string{"POST /v2/", "PUT /v2/_catalog", "DELETE /v2/a/b/tags/list", "POST /v2/a/b/manifests/v1", "PATCH /v2/a/b/manifests/v1", "PUT /v2/a/b/blobs/" + absent, "GET /v2/a/b/blobs/uploads/", "POST {upload}", "HEAD {upload}", "PUT /v2/a/b/referrers/" + absent}, func(line string) badInput {
		method, path, _ := strings.Cut(line, " ")
		return badInput{name: "method", method: method, path: path, status: http.StatusMethodNotAllowed, code: "UNSUPPORTED"}
	})...)
}

func badNames() (all []badInput) {
	names := []string{
		"A", "a/B", "a//b", "/a", "a/../b", "a/%2e%2e/b", "%2e", "a%00b", "a%20b", "a%0ab", ".a", "a.", "-a", "a-", "a..b", "a___b", "a:b", "a%5cb", "%c3%a9", "%ff",
		strings.Repeat("a", 256), strings.Repeat("a/", 128) + "a",
	}
	for _, line := range []string{
		"GET /v2/%s/manifests/v1", "HEAD /v2/%s/manifests/v1", "PUT /v2/%s/manifests/v1", "DELETE /v2/%s/manifests/v1", "GET /v2/%s/tags/list", "GET /v2/%s/blobs/" + absent, "DELETE /v2/%s/blobs/" + absent,
		"POST /v2/%s/blobs/uploads/", "POST /v2/%s/blobs/uploads/?mount=" + absent + "&from=a/b", "PATCH /v2/%s/blobs/uploads/x", "GET /v2/%s/referrers/" + absent,
	} {
		all = append(all, each(names, func(name string) badInput {
			method, path, _ := strings.Cut(strings.Replace(line, "%s", name, 1), " ")
			return badInput{name: line, method: method, path: path, status: http.StatusBadRequest, code: "NAME_INVALID"}
		})...)
	}
	return all
}

func badTags(v1 string) (all []badInput) {
	tags := []string{".v", "-v", "%2e%2e", "v%00", "v%20", "v+", "v%0a", "%c3%a9", strings.Repeat("v", 129), strings.Repeat("v", 256)}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
		all = append(all, each(tags, func(tag string) badInput {
			return badInput{name: method + " tag", method: method, path: "/v2/a/b/manifests/" + tag, status: http.StatusNotFound, code: "MANIFEST_UNKNOWN"}
		})...)
	}
	config := digest.FromString("config").String()
	put := badInput{method: http.MethodPut, header: []string{"Content-Type: " + typeImage}, body: image(config, ""), status: http.StatusBadRequest, code: "MANIFEST_INVALID"}
	all = append(all, each(tags, func(tag string) badInput {
		put.name, put.path = "PUT tag", "/v2/a/b/manifests/"+tag
		return put
	})...)
	for _, reference := range []string{"v9", v1} {
		all = append(all, each(append(tags[1:], "", "a/b", "v:1", absent), func(tag string) badInput {
			put.name, put.path = "PUT under tags", "/v2/a/b/manifests/"+reference+"?tag=good&tag="+strings.ReplaceAll(tag, "v+", "v%2b")
			return put
		})...)
		all = append(all, each([]string{"%zz", "a;b", "%"}, func(query string) badInput {
			unread := put
			unread.name, unread.path, unread.code = "PUT under unreadable tags", "/v2/a/b/manifests/"+reference+"?tag=good&tag="+query, "UNSUPPORTED"
			return unread
		})...)
	}
	put.name, put.path, put.status = "PUT under many tags", "/v2/a/b/manifests/"+v1+"?tag=t"+strings.Repeat("&tag=t", 64), http.StatusRequestURITooLong
	return append(all, put)
}

func badDigests() (all []badInput) {
	hex := strings.Repeat("0123456789abcdef", 4)
	digests := []string{
		"sha256:" + strings.ToUpper(hex), "SHA256:" + hex, "sha256:" + hex[1:], "sha256:" + hex + "0", "sha256:" + hex[1:] + "%00", "sha256:", ":" + hex, "sha256:" + strings.Repeat("g", 64),
		"sha512:" + hex, "sha512:" + hex + hex + "0", "sha384:" + hex + hex[:32], "md5:" + hex[:32], "sha256:%2e%2e", "sha256:" + strings.Repeat("0", 300), "sha256+b64:" + hex,
	}
	for _, line := range []string{
		"GET /v2/a/b/blobs/", "HEAD /v2/a/b/blobs/", "DELETE /v2/a/b/blobs/", "GET /v2/a/b/manifests/", "HEAD /v2/a/b/manifests/", "PUT /v2/a/b/manifests/", "DELETE /v2/a/b/manifests/", "GET /v2/a/b/referrers/",
		"POST /v2/a/b/blobs/uploads/?digest=", "POST /v2/a/b/blobs/uploads/?from=a/b&mount=", "POST /v2/a/b/blobs/uploads/?mount=", "PUT {upload}?digest=",
	} {
		bad := digests
		if !strings.Contains(line, "manifests") { // there it is a tag
			bad = append(bad, hex, "x")
		}
		if strings.Contains(line, "?") {
			bad = append(bad, "")
		}
		all = append(all, each(bad, func(d string) badInput {
			method, path, _ := strings.Cut(line, " ")
			return badInput{name: line, method: method, path: path + d, status: http.StatusBadRequest, code: "DIGEST_INVALID"}
		})...)
	}
	return append(all, each([]string{"", "md5", "sha384", "SHA256", "sha256%00"}, func(algorithm string) badInput {
		return badInput{name: "algorithm", method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?digest-algorithm=" + algorithm, status: http.StatusBadRequest, code: "DIGEST_INVALID"}
	})...)
}

func badPages(v1 string) (all []badInput) {
	for _, path := range []string{"/v2/_catalog", "/v2/a/b/tags/list", "/v2/a/b/referrers/" + v1} {
		all = append(all, each([]string{"n=-1", "n=", "n=x", "n=1.5", "n=0x1", "n=%2b1", "n=9223372036854775807", "n=99999999999999999999", "n=1%00", "n=%zz", "n=1;last=x", "n=1&n=2", "last=&last=x"}, func(query string) badInput {
			return badInput{name: "page of " + path[:10], method: http.MethodGet, path: path + "?" + query, status: http.StatusBadRequest, code: "UNSUPPORTED"}
		})...)
	}
	return append(all, each([]string{"x", "sha256:x", absent[1:], absent + "0"}, func(last string) badInput {
		return badInput{name: "referrers behind", method: http.MethodGet, path: "/v2/a/b/referrers/" + v1 + "?last=" + last, status: http.StatusBadRequest, code: "UNSUPPORTED"}
	})...)
}

func badConditions(v1 string) (all []badInput) {
	layer := digest.FromString("layer").String()
	other := image(digest.FromString("config").String(), `,"annotations":{"a":"b"}`)
	put := badInput{method: http.MethodPut, path: "/v2/a/b/manifests/v1", header: []string{"Content-Type: " + typeImage}, body: other}
	requests := map[string]badInput{
		"put of a tag": put, "put of a tag beside a digest": put, "put of a digest": put,
		"delete of a tag":    {method: http.MethodDelete, path: "/v2/a/b/manifests/v1"},
		"delete of a digest": {method: http.MethodDelete, path: "/v2/a/b/manifests/" + v1},
		"delete of a blob":   {method: http.MethodDelete, path: "/v2/a/b/blobs/" + layer},
	}
	put.path = "/v2/a/b/manifests/" + digest.FromString(other).String()
	requests["put of a digest"] = put
	put.path += "?tag=v1"
	requests["put of a tag beside a digest"] = put
	with := func(what string, status int, code string, lines ...string) badInput {
		one := requests[what]
		one.name, one.status, one.code = what+" "+strings.NewReplacer(v1, "v1", absent, "absent").Replace(fmt.Sprint(lines)), status, code
		one.header = append(slices.Clip(one.header), lines...)
		return one
	}
	good := `"` + v1 + `"`
	for what := range requests {
		for _, lines := range [][]string{
			{"If-Match:"},
			{"If-None-Match:"},
			{"If-Match: *"},
			{"If-Match: x"},
			{"If-Match: " + v1},
			{"If-Match: W/" + good},
			{`If-Match: "` + v1},
			{"If-Match: " + good + ", " + good},
			{"If-Match: " + good, "If-Match: " + good},
			{`If-Match: "` + strings.ToUpper(v1) + `"`},
			{"If-None-Match: " + good},
			{"If-None-Match: *, *"},
			{"If-None-Match: *", "If-None-Match: " + good},
			{"If-Match: " + good, "If-None-Match: *"},
		} {
			all = append(all, with(what, http.StatusBadRequest, "UNSUPPORTED", lines...))
		}
	}
	wrong := `If-Match: "` + absent + `"`
	for _, what := range []string{"put of a tag", "put of a tag beside a digest", "delete of a tag"} {
		for _, line := range []string{wrong, "If-None-Match: *"} {
			one := with(what, http.StatusPreconditionFailed, "DENIED", line)
			one.judged = true
			all = append(all, one)
		}
	}
	for _, what := range []string{"delete of a digest", "delete of a blob"} {
		all = append(all, with(what, http.StatusPreconditionFailed, "DENIED", wrong), with(what, http.StatusBadRequest, "UNSUPPORTED", "If-None-Match: *"))
	}
	all = append(all, with("put of a digest", http.StatusBadRequest, "UNSUPPORTED", "If-Match: "+good), with("put of a digest", http.StatusBadRequest, "UNSUPPORTED", "If-None-Match: *"))
	for _, path := range []string{"manifests/v1", "manifests/" + v1, "blobs/" + layer} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			all = append(all, each([]string{wrong, "If-Match:", "If-Match: x", "If-Match: W/" + `"` + layer + `"`}, func(line string) badInput {
				return badInput{name: method + " of " + path[:10], method: method, path: "/v2/a/b/" + path, header: []string{line}, status: http.StatusPreconditionFailed, code: "DENIED"}
			})...)
		}
	}
	return all
}

func badRanges() (all []badInput) {
	for _, text := range []string{"layer", "config"} {
		all = append(all, each([]string{"3-1", "a-b", "-0", "99999999999999999999-", "9223372036854775807-", "99999999999999999999-99999999999999999999", "6-", "6-7", "-", "", "1", "--1", "1-2-3", "+1-2", "0x1-2", "1 - 2", "-a"}, func(r string) badInput {
			return badInput{name: "range", method: http.MethodGet, path: "/v2/a/b/blobs/" + digest.FromString(text).String(), header: []string{"Range: bytes=" + r}, status: http.StatusRequestedRangeNotSatisfiable, code: "SIZE_INVALID"}
		})...)
	}
	return all
}

func badUploads() (all []badInput) {
	for _, line := range []string{"PATCH {upload}", "PUT {upload}?digest=" + digest.FromString("abc").String(), "POST /v2/a/b/blobs/uploads/?digest=" + digest.FromString("abc").String()} {
		method, path, _ := strings.Cut(line, " ")
		chunk := badInput{method: method, path: path, body: "abc", status: http.StatusBadRequest, code: "BLOB_UPLOAD_INVALID"}
		all = append(all, each([]string{
			"2-0", "a-b", "-2", "0-", "0", "-", "0-2/x", "0-2/", "0-2/2", "bytes 0-2/1", "bytes 0-2/-1", "bytes=0-2/0", "bytes 0-2/3/4", "0-99999999999999999999", "99999999999999999999-0",
			"0-9223372036854775807", "0-2/99999999999999999999", "bytes", "bytes=", "bytes0-2", "octets 0-2", "0-0,1-2", "0-2\r\nContent-Range: 0-2", "+0-2", "0x0-2", "0 - 2",
		}, func(r string) badInput {
			chunk.name, chunk.header = method+" Content-Range", []string{"Content-Range: " + r}
			return chunk
		})...)
		chunk.name, chunk.header, chunk.code = method+" of another size", []string{"Content-Range: 0-3"}, "SIZE_INVALID"
		all = append(all, chunk)
		if method != http.MethodPost { // an upload that the client was told of
			chunk.upload = "0 bytes"
		}
		chunk.name, chunk.header, chunk.status, chunk.code = method+" elsewhere", []string{"Content-Range: 3-5"}, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID"
		all = append(all, chunk)
	}
	for _, id := range []string{"x", absent[7:], "%2e%2e", "a%00", strings.Repeat("A", 88), strings.Repeat("A", 300)} {
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete} {
			all = append(all, badInput{
				name: method + " upload " + fmt.Sprintf("%.60q", id), method: method, path: "/v2/a/b/blobs/uploads/" + id + "?digest=" + absent, body: "abc",
				status: http.StatusNotFound, code: "BLOB_UPLOAD_UNKNOWN",
			})
		}
	}
	return append(
		all,
		badInput{name: "PUT of another digest", method: http.MethodPut, path: "{upload}?digest=" + absent, body: "abc", status: http.StatusBadRequest, code: "DIGEST_INVALID", upload: "3 bytes"},
		badInput{name: "POST of another digest", method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?digest=" + absent, body: "abc", status: http.StatusBadRequest, code: "DIGEST_INVALID"},
		badInput{name: "two digests", method: http.MethodPut, path: "{upload}?digest=" + digest.FromString("abc").String() + "&digest=" + absent, body: "abc", status: http.StatusBadRequest, code: "UNSUPPORTED"},
		badInput{name: "unreadable query", method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?mount=%zz", status: http.StatusBadRequest, code: "UNSUPPORTED"},
		badInput{name: "another repository's upload", method: http.MethodPatch, path: "/v2/x/y/blobs/uploads/x", body: "abc", status: http.StatusNotFound, code: "BLOB_UPLOAD_UNKNOWN"},
	)
}

func badManifests() (all []badInput) {
	config := digest.FromString("config").String()
	good := image(config, "")
	put := func(name, mediaType, body string) badInput {
		one := badInput{name: "manifest " + name, method: http.MethodPut, path: "/v2/a/b/manifests/v9", body: body, status: http.StatusBadRequest, code: "MANIFEST_INVALID"}
		if mediaType != "" {
			one.header = []string{"Content-Type: " + mediaType}
		}
		return one
	}
	with := func(name, old, replaced string) badInput {
		return put(name, typeImage, strings.Replace(good, old, replaced, 1))
	}
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "x", "null": "null", "list": "[]", "number": "2", "text": `"x"`, "empty": "{}", "cut off": good[:len(good)-1], "with more behind": good + "{}",
		"not UTF-8": strings.Replace(good, "[]", "[],\"x\":\"\xff\"", 1), "deep": strings.Replace(good, "[]", `[],"x":`+strings.Repeat("[", 65)+strings.Repeat("]", 65), 1),
		"deeper": strings.Repeat(`{"a":`, 200_000) + "1" + strings.Repeat("}", 200_000), "deepest": strings.Repeat("[", 1<<20),
	} {
		all = append(all, put(name, typeImage, body))
	}
	all = append(
		all,
		with("of schema 3", `"schemaVersion":2`, `"schemaVersion":3`), with("without schema", `"schemaVersion":2,`, ``), with("with a key twice", `"layers":[]`, `"layers":[],"layers":[]`),
		with("with a key in upper case", `"layers"`, `"Layers"`), with("without configuration", `"config"`, `"other"`), with("with an empty layer", `[]`, `[null]`), with("with a layer of no digest", `[]`, `[{"mediaType":"x","size":1}]`),
		with("with a bad digest", config, "sha256:x"), with("with an upper-case digest", config, "sha256:"+strings.ToUpper(config[7:])), with("with a negative size", `"size":6`, `"size":-6`), with("with a size that is no number", `"size":6`, `"size":"6"`),
		with("with a size beyond numbers", `"size":6`, `"size":99999999999999999999`), with("with sizes that differ", `[]`, `[{"mediaType":"x","digest":"`+config+`","size":7}]`), with("of two kinds", `[]`, `[],"manifests":[]`),
		with("with a bad subject", `[]`, `[],"subject":{"mediaType":"x","digest":"x","size":1}`), with("with a subject that is text", `[]`, `[],"subject":"x"`), with("with a long type", `[]`, `[],"artifactType":"`+strings.Repeat("a", 256)+`"`),
		with("with a type of control characters", `[]`, `[],"artifactType":"a\u0000b"`), with("with a number as annotation", `[]`, `[],"annotations":{"a":1}`),
		put("without type", "", `{"schemaVersion":2,"config":{"mediaType":"x","digest":"`+config+`","size":6},"layers":[]}`), put("of schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`),
		put("of schema 1, not said", "", `{"schemaVersion":1,"name":"a/b","fsLayers":[]}`), put("of schema 1, unsigned", "application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1}`), put("of another type than it says", typeIndex, good),
	)
	all = append(all, each([]string{"text/plain", ";", "a/b/c", "application/json", "*/*", typeImage + ", " + typeIndex}, func(mediaType string) badInput {
		return put("of type", mediaType, good)
	})...)
	for name, one := range map[string]badInput{"large": put("", typeImage, good+strings.Repeat(" ", 4<<20)), "with many references": put("", typeImage, manyLayers(config))} {
		one.name, one.status = "manifest too "+name, http.StatusRequestEntityTooLarge
		all = append(all, one)
	}
	whole := put("in part", typeImage, good)
	whole.header = append(whole.header, "Content-Range: bytes 0-9/10")
	digested := put("of another digest", typeImage, good)
	digested.path, digested.code = "/v2/a/b/manifests/"+absent, "DIGEST_INVALID"
	all = append(all, whole, digested)
	descriptor := func(mediaType, d string) string {
		return `{"mediaType":"` + mediaType + `","digest":"` + d + `","size":6}`
	}
	index := func(of string) string {
		return `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[` + of + `]}`
	}
	for _, one := range []badInput{
		with("whose configuration is not there", config, absent), with("whose layer is not there", "[]", "["+descriptor("x", absent)+"]"), put("whose child is not there", typeIndex, index(descriptor(typeImage, absent))),
		put("whose child is a blob", typeIndex, index(descriptor(typeImage, config))), put("whose blob is not there", typeIndex, index(descriptor("x", absent))),
	} {
		one.status, one.code, one.judged = http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN", true
		all = append(all, one)
	}
	return all
}

// manyLayers is an image with one reference more than a manifest may have.
func manyLayers(config string) string {
	layers := make([]string, 4096)
	for i := range layers {
		layers[i] = `{"mediaType":"x","digest":"` + digest.FromString(itoa(i)).String() + `","size":1}`
	}
	return strings.Replace(image(config, ""), "[]", "["+strings.Join(layers, ",")+"]", 1)
}

// badBodies end before they should, or later.
func badBodies() (all []badInput) {
	for _, one := range []struct {
		line    string
		upload  bool
		content []string
	}{
		{"PATCH {upload}", true, nil},
		{"PUT {upload}?digest=" + digest.FromString("abcdef").String(), true, nil},
		{"POST /v2/a/b/blobs/uploads/?digest=" + digest.FromString("abcdef").String(), false, nil},
		{"PUT /v2/a/b/manifests/v9", false, []string{"Content-Type: " + typeImage}},
	} {
		method, path, _ := strings.Cut(one.line, " ")
		row := badInput{method: method, path: path, raw: true, status: http.StatusBadRequest, code: "SIZE_INVALID"}
		if one.upload {
			row.upload = "3 bytes"
		}
		add := func(name, body string, breaksOff bool, lines ...string) {
			row.name, row.body, row.breaksOff, row.header = one.line+" "+name, body, breaksOff, append(lines, one.content...)
			all = append(all, row)
		}
		chunked := "Transfer-Encoding: chunked"
		add("breaks off", "abc", true, "Content-Length: 6")
		add("breaks off between chunks", "3\r\nabc\r\n", true, chunked)
		add("has a chunk of no length", "3\r\nabc\r\nx\r\n", true, chunked)
		if one.content == nil {
			add("is shorter than its Content-Range", "3\r\nabc\r\n0\r\n\r\n", false, chunked, "Content-Range: 0-5")
			add("is longer than its Content-Range", "6\r\nabcdef\r\n0\r\n\r\n", false, chunked, "Content-Range: 0-2")
		}
		if one.upload { // what a client sends in its last breath is not worth a write
			row.upload = "0 bytes"
		}
		add("breaks off in a chunk", "6\r\nabc", true, chunked)
	}
	return all
}

// badHTTP is what no handler sees.
func badHTTP() []badInput {
	return each([]string{
		"Content-Length: x\r\n\r\n", "Content-Length: -1\r\n\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Content-Length: 99999999999999999999\r\n\r\n", "If-Match\r\n\r\n", "If Match: x\r\n\r\n", "Host: zot\r\n\r\n",
		"Content-Range: \x00\r\n\r\n",
	}, func(lines string) badInput {
		return badInput{name: "HTTP", method: http.MethodPut, path: "/v2/a/b/manifests/v9", header: []string{strings.TrimSuffix(lines, "\r\n\r\n")}, raw: true, status: http.StatusBadRequest}
	})
}
