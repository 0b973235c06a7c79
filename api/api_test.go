package api_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func itoa(n int) string { return strconv.Itoa(n) }

const absent = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// Every endpoint and every error that needs no more than one request to a registry with a little in it:
// repository a/b has image "v1" with configuration "config", an image whose subject that is, and a blob "layer";
// x/y has nothing but blob "other".
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v1 := w.pushImage("v1", "")
	signature := w.pushImage("", `,"artifactType":"application/sig","annotations":{"k":"v"},"subject":{"mediaType":"`+typeImage+`","digest":"`+v1+`","size":`+itoa(len(image(absent, "")))+`}`)
	config, layer := digest.FromString("config").String(), w.push("a/b", "layer")
	w.push("x/y", "other")
	body := image(config, "")
	upload := w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/"}).Header().Get("Location")
	upload512 := w.must(http.StatusAccepted, call{method: http.MethodPost, path: "/v2/a/b/blobs/uploads/?digest-algorithm=sha512"}).Header().Get("Location")
	sha512 := digest.SHA512.FromString("new").String()
	oci := "Content-Type: " + typeImage

	for _, test := range []struct {
		name   string
		call   call
		status int
		code   string   // of the error
		header []string // "Name: value", or "Name" for one that must not be there
		body   string   // "" is not looked at
	}{
		{name: "base", call: call{method: "GET", path: "/v2/"}, status: 200, body: "{}"},
		{name: "base without slash", call: call{method: "GET", path: "/v2"}, status: 200},
		{name: "outside", call: call{method: "GET", path: "/v3/"}, status: 404, code: "UNSUPPORTED"},
		{name: "no endpoint", call: call{method: "GET", path: "/v2/a/b"}, status: 404, code: "UNSUPPORTED"},
		{name: "bad method", call: call{method: "POST", path: "/v2/a/b/manifests/v1"}, status: 405, code: "UNSUPPORTED", header: []string{"Allow: DELETE, GET, HEAD, PUT"}},
		{name: "bad name", call: call{method: "GET", path: "/v2/A/manifests/v1"}, status: 400, code: "NAME_INVALID"},
		{name: "empty component", call: call{method: "GET", path: "/v2/a//b/manifests/v1"}, status: 400, code: "NAME_INVALID"},
		{name: "climbing", call: call{method: "GET", path: "/v2/a/../b/manifests/v1"}, status: 400, code: "NAME_INVALID"},

		{name: "blob", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer}, status: 200, body: "layer", header: []string{"Docker-Content-Digest: " + layer, `ETag: "` + layer + `"`, "Accept-Ranges: bytes", "Content-Length: 5", "Content-Type: application/octet-stream"}},
		{name: "blob with slash", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer + "/"}, status: 200, body: "layer"},
		{name: "blob head", call: call{method: "HEAD", path: "/v2/a/b/blobs/" + layer}, status: 200, header: []string{"Docker-Content-Digest: " + layer, "Content-Length: 5"}},
		{name: "blob of another repository", call: call{method: "GET", path: "/v2/x/y/blobs/" + layer}, status: 404, code: "BLOB_UNKNOWN", header: []string{"ETag", "Docker-Content-Digest"}},
		{name: "blob head of another repository", call: call{method: "HEAD", path: "/v2/x/y/blobs/" + layer}, status: 404},
		{name: "blob of no repository", call: call{method: "GET", path: "/v2/no/blobs/" + layer}, status: 404, code: "BLOB_UNKNOWN"},
		{name: "blob by bad digest", call: call{method: "GET", path: "/v2/a/b/blobs/sha256:xyz"}, status: 400, code: "DIGEST_INVALID"},
		{name: "blob by other algorithm", call: call{method: "GET", path: "/v2/a/b/blobs/sha384:" + strings.Repeat("0", 96)}, status: 400, code: "DIGEST_INVALID"},
		{name: "range", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=1-3"}}, status: 206, body: "aye", header: []string{"Content-Range: bytes 1-3/5", "Content-Length: 3"}},
		{name: "open range", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=3-"}}, status: 206, body: "er"},
		{name: "last bytes", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=-2"}}, status: 206, body: "er"},
		{name: "range too long", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=3-99"}}, status: 206, body: "er", header: []string{"Content-Range: bytes 3-4/5"}},
		{name: "range outside", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=5-"}}, status: 416, code: "SIZE_INVALID", header: []string{"Content-Range: bytes */5"}},
		{name: "range beyond all numbers", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=3-99999999999999999999"}}, status: 206, body: "er"},
		{name: "blob if it is this", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{`If-Match: "` + config + `", "` + layer + `"`}}, status: 200, body: "layer"},
		{name: "two ranges", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=0-1,3-4"}}, status: 200, body: "layer"},
		{name: "range of this", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=1-3", `If-Range: "` + layer + `"`}}, status: 206, body: "aye"},
		{name: "range of another", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{"Range: bytes=1-3", `If-Range: "` + config + `"`}}, status: 200, body: "layer"},
		{name: "known blob", call: call{method: "GET", path: "/v2/a/b/blobs/" + layer, header: []string{`If-None-Match: "` + layer + `"`}}, status: 304},
		{name: "delete referenced blob", call: call{method: "DELETE", path: "/v2/a/b/blobs/" + config}, status: 405, code: "UNSUPPORTED"},
		{name: "delete unknown blob", call: call{method: "DELETE", path: "/v2/a/b/blobs/" + absent}, status: 404, code: "BLOB_UNKNOWN"},

		{name: "status", call: call{method: "GET", path: upload}, status: 204, header: []string{"Range: 0-0"}},
		{name: "status of another repository", call: call{method: "GET", path: strings.Replace(upload, "a/b", "x/y", 1)}, status: 404, code: "BLOB_UPLOAD_UNKNOWN"},
		{name: "status of a forged id", call: call{method: "GET", path: upload[:len(upload)-3] + "AAA"}, status: 404, code: "BLOB_UPLOAD_UNKNOWN"},
		{name: "status of no id", call: call{method: "GET", path: "/v2/a/b/blobs/uploads/x"}, status: 404, code: "BLOB_UPLOAD_UNKNOWN"},
		{name: "chunk out of order", call: call{method: "PATCH", path: upload, header: []string{"Content-Range: 3-5"}, body: "abc"}, status: 416, code: "BLOB_UPLOAD_INVALID", header: []string{"Range: 0-0"}},
		{name: "bad Content-Range", call: call{method: "PATCH", path: upload, header: []string{"Content-Range: 5-3"}, body: "abc"}, status: 400, code: "BLOB_UPLOAD_INVALID"},
		{name: "another length", call: call{method: "PATCH", path: upload, header: []string{"Content-Range: 0-3"}, body: "abc"}, status: 400, code: "SIZE_INVALID"},
		{name: "put out of order", call: call{method: "PUT", path: upload + "?digest=" + absent, header: []string{"Content-Range: 3-5"}, body: "abc"}, status: 416, code: "BLOB_UPLOAD_INVALID"},
		{name: "put without digest", call: call{method: "PUT", path: upload}, status: 400, code: "DIGEST_INVALID"},
		{name: "put of other bytes", call: call{method: "PUT", path: upload + "?digest=" + absent}, status: 400, code: "DIGEST_INVALID"},
		{name: "upload under sha512", call: call{method: "PUT", path: upload512 + "?digest=" + sha512, body: "new"}, status: 201, header: []string{"Location: /v2/a/b/blobs/" + sha512, "Docker-Content-Digest: " + sha512}},
		{name: "begin with a bad algorithm", call: call{method: "POST", path: "/v2/a/b/blobs/uploads/?digest-algorithm=md5"}, status: 400, code: "DIGEST_INVALID"},
		{name: "at once, other bytes", call: call{method: "POST", path: "/v2/a/b/blobs/uploads/?digest=" + absent, body: "x"}, status: 400, code: "DIGEST_INVALID"},
		{name: "at once, empty", call: call{method: "POST", path: "/v2/a/b/blobs/uploads/?digest=" + digest.FromString("").String()}, status: 201},
		{name: "mount", call: call{method: "POST", path: "/v2/m/1/blobs/uploads/?mount=" + layer + "&from=a/b"}, status: 201, header: []string{"Location: /v2/m/1/blobs/" + layer}},
		{name: "mount from anywhere", call: call{method: "POST", path: "/v2/m/2/blobs/uploads/?mount=" + layer}, status: 201},
		{name: "mount of nothing", call: call{method: "POST", path: "/v2/m/3/blobs/uploads/?mount=" + absent + "&from=a/b"}, status: 202},
		{name: "mount from where it is not", call: call{method: "POST", path: "/v2/m/4/blobs/uploads/?mount=" + config + "&from=x/y"}, status: 202},
		{name: "mount from a bad name", call: call{method: "POST", path: "/v2/m/5/blobs/uploads/?mount=" + layer + "&from=A"}, status: 202},
		{name: "mount of a bad digest", call: call{method: "POST", path: "/v2/m/6/blobs/uploads/?mount=sha256:x&from=a/b"}, status: 400, code: "DIGEST_INVALID"},

		{name: "manifest by tag", call: call{method: "GET", path: "/v2/a/b/manifests/v1"}, status: 200, body: body, header: []string{"Content-Type: " + typeImage, "Docker-Content-Digest: " + v1, `ETag: "` + v1 + `"`, "Content-Length: " + itoa(len(body))}},
		{name: "manifest by digest", call: call{method: "GET", path: "/v2/a/b/manifests/" + v1}, status: 200, body: body},
		{name: "manifest head", call: call{method: "HEAD", path: "/v2/a/b/manifests/v1"}, status: 200, header: []string{"Content-Length: " + itoa(len(body))}},
		{name: "known manifest", call: call{method: "HEAD", path: "/v2/a/b/manifests/v1", header: []string{`If-None-Match: "` + v1 + `"`}}, status: 304, header: []string{"Content-Length"}},
		{name: "unknown tag", call: call{method: "GET", path: "/v2/a/b/manifests/v2"}, status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "impossible tag", call: call{method: "GET", path: "/v2/a/b/manifests/.v"}, status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "unknown digest", call: call{method: "GET", path: "/v2/a/b/manifests/" + absent}, status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "unknown repository", call: call{method: "GET", path: "/v2/no/manifests/v1"}, status: 404, code: "NAME_UNKNOWN"},
		{name: "bad digest", call: call{method: "HEAD", path: "/v2/a/b/manifests/sha256:1"}, status: 400},
		{name: "put again", call: call{method: "PUT", path: "/v2/a/b/manifests/v1", header: []string{oci}, body: body}, status: 201, header: []string{"Location: /v2/a/b/manifests/" + v1, "Docker-Content-Digest: " + v1, "OCI-Subject", "OCI-Tag"}},
		{name: "put under tags", call: call{method: "PUT", path: "/v2/a/b/manifests/" + v1 + "?tag=w1&tag=w2", header: []string{oci}, body: body}, status: 201, header: []string{"OCI-Tag: w1"}},
		{name: "put under a bad tag", call: call{method: "PUT", path: "/v2/a/b/manifests/" + v1 + "?tag=w3&tag=.w", header: []string{oci}, body: body}, status: 400, code: "MANIFEST_INVALID"},
		{name: "nothing of that is there", call: call{method: "GET", path: "/v2/a/b/manifests/w3"}, status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "put under too many tags", call: call{method: "PUT", path: "/v2/a/b/manifests/" + v1 + "?" + strings.Repeat("tag=t&", 65), header: []string{oci}, body: body}, status: 414, code: "MANIFEST_INVALID"},
		{name: "put under another digest", call: call{method: "PUT", path: "/v2/a/b/manifests/" + absent, header: []string{oci}, body: body}, status: 400, code: "DIGEST_INVALID"},
		{name: "put without its blob", call: call{method: "PUT", path: "/v2/x/y/manifests/v1", header: []string{oci}, body: body}, status: 404, code: "MANIFEST_BLOB_UNKNOWN"},
		{name: "put of no JSON", call: call{method: "PUT", path: "/v2/a/b/manifests/v9", header: []string{oci}, body: "x"}, status: 400, code: "MANIFEST_INVALID"},
		{name: "put of another type", call: call{method: "PUT", path: "/v2/a/b/manifests/v9", header: []string{"Content-Type: text/plain"}, body: body}, status: 400, code: "MANIFEST_INVALID"},
		{name: "put of too much", call: call{method: "PUT", path: "/v2/a/b/manifests/v9", header: []string{oci}, body: strings.Repeat(" ", 4<<20+1)}, status: 413, code: "MANIFEST_INVALID"},
		{name: "put to a bad tag", call: call{method: "PUT", path: "/v2/a/b/manifests/.v", header: []string{oci}, body: body}, status: 400, code: "MANIFEST_INVALID"},
		{name: "put if absent", call: call{method: "PUT", path: "/v2/a/b/manifests/v1", header: []string{oci, "If-None-Match: *"}, body: image(config, `,"annotations":{"a":"b"}`)}, status: 412, code: "DENIED"},
		{name: "put if it is another", call: call{method: "PUT", path: "/v2/a/b/manifests/v1", header: []string{oci, `If-Match: "` + absent + `"`}, body: body}, status: 412, code: "DENIED"},
		{name: "put if it is this", call: call{method: "PUT", path: "/v2/a/b/manifests/v1", header: []string{oci, `If-Match: "` + v1 + `"`}, body: body}, status: 201},
		{name: "put if who knows", call: call{method: "PUT", path: "/v2/a/b/manifests/v1", header: []string{oci, `If-Match: *`}, body: body}, status: 400, code: "UNSUPPORTED"},
		{name: "put under a digest if its tags are absent", call: call{method: "PUT", path: "/v2/a/b/manifests/" + v1 + "?tag=w1", header: []string{oci, "If-None-Match: *"}, body: body}, status: 201},
		{name: "artifact type of control characters", call: call{method: "PUT", path: "/v2/a/b/manifests/v9", header: []string{oci}, body: image(config, `,"artifactType":"a\u0000b"`)}, status: 400, code: "MANIFEST_INVALID"},
		{name: "delete unknown tag", call: call{method: "DELETE", path: "/v2/a/b/manifests/v2"}, status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "delete unknown digest", call: call{method: "DELETE", path: "/v2/a/b/manifests/" + absent}, status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "delete another tag", call: call{method: "DELETE", path: "/v2/a/b/manifests/v1", header: []string{`If-Match: "` + absent + `"`}}, status: 412, code: "DENIED"},

		{name: "tags", call: call{method: "GET", path: "/v2/a/b/tags/list"}, status: 200, body: `{"name":"a/b","tags":["v1","w1","w2"]}`, header: []string{"Link"}},
		{name: "tags, a page", call: call{method: "GET", path: "/v2/a/b/tags/list?n=1&last=v1"}, status: 200, body: `{"name":"a/b","tags":["w1"]}`, header: []string{`Link: </v2/a/b/tags/list?last=w1&n=1>; rel="next"`}},
		{name: "tags, the last page", call: call{method: "GET", path: "/v2/a/b/tags/list?n=1&last=w1"}, status: 200, body: `{"name":"a/b","tags":["w2"]}`, header: []string{"Link"}},
		{name: "tags behind the last", call: call{method: "GET", path: "/v2/a/b/tags/list?last=z"}, status: 200, body: `{"name":"a/b","tags":[]}`},
		{name: "no tags", call: call{method: "GET", path: "/v2/a/b/tags/list?n=0"}, status: 200, body: `{"name":"a/b","tags":[]}`, header: []string{"Link"}},
		{name: "bad page", call: call{method: "GET", path: "/v2/a/b/tags/list?n=x"}, status: 400, code: "UNSUPPORTED"},
		{name: "tags of no repository", call: call{method: "GET", path: "/v2/no/tags/list"}, status: 404, code: "NAME_UNKNOWN"},
		{name: "catalog", call: call{method: "GET", path: "/v2/_catalog"}, status: 200, body: `{"repositories":["a/b"]}`},

		{name: "referrers", call: call{method: "GET", path: "/v2/a/b/referrers/" + v1}, status: 200, body: `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[{"mediaType":"` + typeImage + `","digest":"` + signature + `","size":` + itoa(len(w.do(call{method: "GET", path: "/v2/a/b/manifests/" + signature}).Body.String())) + `,"annotations":{"k":"v"},"artifactType":"application/sig"}]}`, header: []string{"Content-Type: " + typeIndex, "OCI-Filters-Applied"}},
		{name: "referrers of a type", call: call{method: "GET", path: "/v2/a/b/referrers/" + v1 + "?artifactType=other"}, status: 200, body: `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[]}`, header: []string{"OCI-Filters-Applied: artifactType"}},
		{name: "referrers of nothing", call: call{method: "GET", path: "/v2/no/referrers/" + absent}, status: 200, body: `{"schemaVersion":2,"mediaType":"` + typeIndex + `","manifests":[]}`},
		{name: "referrers of a bad digest", call: call{method: "GET", path: "/v2/a/b/referrers/v1"}, status: 400, code: "DIGEST_INVALID"},
		{name: "referrers behind a bad one", call: call{method: "GET", path: "/v2/a/b/referrers/" + v1 + "?last=x"}, status: 400, code: "UNSUPPORTED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := w.do(test.call)
			if answer.Code != test.status {
				t.Fatalf("status %d, want %d: %s", answer.Code, test.status, answer.Body)
			}
			if want := fmt.Sprintf(`"code":%q`, test.code); test.code != "" && !strings.Contains(answer.Body.String(), want) {
				t.Errorf("body %s, want %s", answer.Body, want)
			}
			if test.body != "" && answer.Body.String() != test.body {
				t.Errorf("body %s, want %s", answer.Body, test.body)
			}
			for _, line := range test.header {
				name, want, _ := strings.Cut(line, ": ")
				if have := answer.Header().Get(name); have != want {
					t.Errorf("%s: %q, want %q", name, have, want)
				}
			}
		})
	}
}
