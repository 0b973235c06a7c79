package ext_test

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm"
)

func TestWhatEverybodyMayKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.do(call{method: "GET", path: "/v2/_zot/ext/mgmt"})
	if want := `{"distSpecVersion":"1.1.1","binaryType":"zot","http":{"auth":{"htpasswd":{},"apikey":true}}}`; got.Code != http.StatusOK || got.Body.String() != want {
		t.Errorf("%d %s, want %s", got.Code, got.Body, want)
	}
	if got := w.do(call{method: "PUT", path: "/v2/_zot/ext/mgmt", name: "ann"}); got.Code != http.StatusMethodNotAllowed || got.Header().Get("Allow") != "GET, POST" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestExtensionsAreDiscovered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/v2/_oci/ext/discover"
	if got := w.do(call{method: "GET", path: path}); got.Code != http.StatusUnauthorized {
		t.Errorf("nobody: %d %s", got.Code, got.Body)
	}
	got := w.do(call{method: "GET", path: path, name: "ann"})
	const want = `{"extensions":[{"name":"_zot","url":"http://example.com/v2/_zot/ext/","description":"zot registry extensions",` +
		`"endpoints":["/v2/_zot/ext/apikey","/v2/_zot/ext/cosign","/v2/_zot/ext/mgmt","/v2/_zot/ext/notation","/v2/_zot/ext/signatures","/v2/_zot/ext/userprefs"]}]}`
	if got.Code != http.StatusOK || got.Body.String() != want {
		t.Errorf("%d %s, want %s", got.Code, got.Body, want)
	}
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := "{}"
	d, err := fsm.Pack(digest.FromString(body))
	if err != nil {
		t.Fatal(err)
	}
	_, err = fsm.Do(t.Context(), w, fsm.PutManifest{Repository: "a/b", Store: fsm.DefaultStore, Digest: d, Size: int64(len(body)), Body: []byte(body), MediaType: "index"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(query string) call {
		return call{method: "PUT", path: "/v2/_zot/ext/userprefs?" + query, name: "ann"}
	}
	marked := func(star, bookmark bool) {
		t.Helper()
		err := w.state.View(func(v fsm.View) error {
			if s, b := v.Marked("ann", "a/b"); s != star || b != bookmark {
				t.Errorf("star %t, bookmark %t", s, b)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		action         string
		star, bookmark bool
	}{{"toggleStar", true, false}, {"toggleBookmark", true, true}, {"toggleStar", false, true}} {
		if got := w.do(put("action=" + step.action + "&repo=a/b")); got.Code != http.StatusOK {
			t.Errorf("%s: %d %s", step.action, got.Code, got.Body)
		}
		marked(step.star, step.bookmark)
	}
	for query, want := range map[string]int{
		"action=toggle&repo=a/b": 400, "repo=a/b": 400, "action=toggleStar": 400, "action=toggleStar&repo=": 404, "action=toggleStar&repo=x": 404,
		"action=toggleStar&repo=../x": 404,
	} {
		if got := w.do(put(query)); got.Code != want {
			t.Errorf("%s: %d %s, want %d", query, got.Code, got.Body, want)
		}
	}
	nobody := put("action=toggleStar&repo=a/b")
	nobody.name = ""
	if got := w.do(nobody); got.Code != http.StatusUnauthorized { // where everybody has to have a name; else 403
		t.Errorf("nobody: %d %s", got.Code, got.Body)
	}
	marked(false, true)
}
