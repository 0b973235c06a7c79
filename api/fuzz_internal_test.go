package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// What a path is read as has a name that may exist, and leads back to the same path.
func FuzzParseRequest(f *testing.F) {
	d := digest.FromString("x").String()
	for _, path := range []string{
		"/v2/", "/v2", "/v2/_catalog", "/v2/a/b/tags/list", "/v2/a/manifests/v1", "/v2/a/manifests/" + d, "/v2/a/blobs/" + d + "/",
		"/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/x", "/v2/blobs/uploads/blobs/uploads/manifests/blobs", "/v2/a/referrers/" + d,
		"/v2//manifests/x", "/v2/../manifests/x", "/v2/a/blobs/sha256:", "/v2/uploads/x", "/v2/tags/list",
	} {
		f.Add(http.MethodGet, path)
		f.Add(http.MethodPut, path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		q, err := parseRequest(method, path)
		if err != nil {
			if m := meaningOf(err); m.status != http.StatusNotFound && m.status != http.StatusBadRequest {
				t.Errorf("%q: status %d: %v", path, m.status, err)
			}
			return
		}
		if back := pathOf(q); back != strings.TrimSuffix(path, "/") && back != path {
			t.Errorf("%q is read as %q", path, back)
		}
		inRepository := q.endpoint != endpointBase && q.endpoint != endpointCatalog
		if inRepository && oci.ValidateRepository(q.repository) != nil {
			t.Errorf("%q names repository %q", path, q.repository)
		}
	})
}

// pathOf is the inverse of parseRequest.
func pathOf(q request) string {
	below := "/v2/" + q.repository
	switch q.endpoint {
	case endpointBase:
		return "/v2"
	case endpointCatalog:
		return "/v2/_catalog"
	case endpointTags:
		return below + "/tags/list"
	case endpointManifest:
		return below + "/manifests/" + q.reference.String()
	case endpointBlob:
		return below + "/blobs/" + q.digest.String()
	case endpointUploads:
		return below + "/blobs/uploads"
	case endpointUpload:
		return below + "/blobs/uploads/" + q.upload
	case endpointReferrers:
		return below + "/referrers/" + q.digest.String()
	default:
		return ""
	}
}

// A range that is answered lies in the content, and is not empty.
func FuzzParseRange(f *testing.F) {
	for _, header := range []string{"bytes=0-4", "bytes=3-", "bytes=-2", "bytes=-0", "bytes=5-", "bytes=4-3", "bytes=0-0,2-3", "bytes=", "bytes=-", "lines=0-4", "bytes=9223372036854775807-", "bytes=+1-2", "bytes=0-9223372036854775808", "bytes=a-b", ""} {
		f.Add(header, int64(5))
		f.Add(header, int64(0))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		s, partial, err := parseRange(header, size)
		switch {
		case err != nil && (partial || !errors.Is(err, errRangeOutside) && !errors.Is(err, errRange)):
			t.Errorf("%q of %d: %t, %v", header, size, partial, err)
		case partial && (s.offset < 0 || s.length < 1 || s.offset > size-s.length):
			t.Errorf("%q of %d: %+v", header, size, s)
		}
	})
}

// A chunk has a place and at least one byte.
func FuzzParseContentRange(f *testing.F) {
	for _, header := range []string{"0-4", "bytes 0-4/10", "bytes 0-4/*", "4-0", "-4", "4-", "", "0-9223372036854775807", "0-9223372036854775806", "bytes=0-4", " 1-1 ", "0-4/4", "0-4/x", "bytes0-4", "bytes 0-4/"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		s, err := parseContentRange(header)
		switch {
		case err != nil && !errors.Is(err, errContentRange):
			t.Error(err)
		case err == nil && (s.offset < 0 || s.length < 1 || s.offset+s.length < 0):
			t.Errorf("%q: %+v", header, s)
		}
	})
}

// Nobody but a holder of the key makes an id, and one that was made is good for its repository alone.
func FuzzUploadID(f *testing.F) {
	s := signer{[][]byte{[]byte("a key of this test"), []byte("an older key of this test")}}
	u := upload{ // the same in all workers
		id: [16]byte{1, 2, 3}, owner: [16]byte{4, 5}, begun: 1234, algorithm: digest.SHA512, offset: 1 << 40, store: Store{Name: "/a"},
	}
	f.Add("a/b", s.sign("a/b", u))
	f.Add("a/b", "")
	f.Add("a/b", strings.Repeat("A", 88))
	forged := signer{[][]byte{[]byte("a key of somebody else")}}
	stolen := u
	stolen.owner = [16]byte{6}
	f.Add("a/b", forged.sign("a/b", stolen))
	f.Add("a/b", s.sign("a/b", upload{})[:50]+s.sign("a/b", u)[50:])
	f.Add("x/y", s.sign("a/b", u))
	f.Add("b", s.sign("", u)) // of store "/a"
	long := u
	long.store.Name += "a/b"
	f.Add("", s.sign("a/b", long))
	// What the holder of the key has made above is good where it was made for: seeds are mixed.
	made := map[string][]upload{"a/b": {u, {}, long}, "": {u}}
	f.Fuzz(func(t *testing.T, repository, text string) {
		if got, err := s.verify(repository, text); err == nil && !slices.Contains(made[repository], got) {
			t.Errorf("%q is taken for %+v of %q", text, got, repository)
		} else if err != nil && !errors.Is(err, errUploadID) {
			t.Error(err)
		}
		fresh := newUpload(u.begun, digest.SHA256)
		fresh.store.Name = fsm.DefaultStore
		for _, one := range []upload{u, fresh, stolen} {
			if got, err := s.verify(repository, s.sign(repository, one)); err != nil || got != one {
				t.Errorf("%+v, %v", got, err)
			}
		}
		older := signer{s.keys[1:]}
		if _, err := s.verify(repository, older.sign(repository, u)); err != nil {
			t.Errorf("an id under the older key: %v", err)
		}
		if _, err := older.verify(repository, s.sign(repository, u)); err == nil {
			t.Error("an id under another key is taken")
		}
		if _, err := s.verify(repository+"x", s.sign(repository, u)); err == nil {
			t.Error("an id of another repository is taken")
		}
	})
}
