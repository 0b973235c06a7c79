package ext_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/fsm"
)

// push puts a manifest into a repository, as the state has it.
func (w *world) push(repository, tag, body string, more func(c *fsm.PutManifest)) digest.Digest {
	w.t.Helper()
	d, err := fsm.Pack(digest.FromString(body))
	if err != nil {
		w.t.Fatal(err)
	}
	c := fsm.PutManifest{Repository: repository, Store: fsm.DefaultStore, Digest: d, Size: int64(len(body)), Body: []byte(body), MediaType: "application/vnd.oci.image.manifest.v1+json"}
	if tag != "" {
		c.Tags = []fsm.TagMove{{Tag: tag}}
	}
	if more != nil {
		more(&c)
	}
	if _, err := fsm.Do(w.t.Context(), w, c); err != nil {
		w.t.Fatal(err)
	}
	return digest.FromString(body)
}

func TestWhoHasSigned(t *testing.T) {
	t.Parallel()
	w := ruled(t)
	image := w.push("a/b", "1", `{"image":1}`, nil)
	w.push("b", "1", `{"image":2}`, nil)
	subject, err := fsm.Pack(image)
	if err != nil {
		t.Fatal(err)
	}
	signature := w.push("a/b", "", `{"signature":1}`, func(c *fsm.PutManifest) { // of nobody: it has no layer
		c.Subject, c.ArtifactType = subject, "application/vnd.cncf.notary.signature"
	})
	at := func(query string) call {
		return call{method: "GET", path: "/v2/_zot/ext/signatures?" + query, name: "ann"}
	}
	want := `{"Digest":"` + image.String() + `","IsSigned":true,"SignatureInfo":[{"Tool":"notation","IsTrusted":false,"Author":"","Digest":"` + signature.String() + `"}]}`
	for _, reference := range []string{"1", image.String()} {
		if got := w.do(at("repo=a/b&reference=" + reference)); got.Code != http.StatusOK || got.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", reference, got.Code, got.Body, want)
		}
	}
	if got := w.do(at("repo=a/b&reference=" + signature.String())); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), `"IsSigned":false,"SignatureInfo":[]`) {
		t.Errorf("what is not signed: %d %s", got.Code, got.Body)
	}
	nobody := at("repo=a/b&reference=1")
	nobody.name = ""
	for name, c := range map[string]struct {
		call   call
		status int
		text   string
	}{
		"no such tag":             {at("repo=a/b&reference=2"), 404, "MANIFEST_UNKNOWN"},
		"no such image":           {at("repo=a/b&reference=" + digest.FromString("none").String()), 404, "MANIFEST_UNKNOWN"},
		"no such repository":      {at("repo=a/c&reference=1"), 404, "NAME_UNKNOWN"},
		"one that is not told of": {at("repo=b&reference=1"), 403, "DENIED"},
		"and one that is none":    {at("repo=c&reference=1"), 403, "DENIED"},
		"nobody":                  {nobody, 401, "UNAUTHORIZED"},
		"no repository":           {at("reference=1"), 400, "?repo=NAME&reference=TAG"},
		"no reference":            {at("repo=a/b"), 400, "?repo=NAME&reference=TAG"},
		"half a digest":           {at("repo=a/b&reference=sha256:12"), 400, "?repo=NAME&reference=TAG"},
		"a way out":               {at("repo=a/../b&reference=1"), 400, "?repo=NAME&reference=TAG"},
		"another method":          {call{method: "POST", path: "/v2/_zot/ext/signatures?repo=a/b&reference=1", name: "root"}, 405, "UNSUPPORTED"},
	} {
		if got := w.do(c.call); got.Code != c.status || !strings.Contains(got.Body.String(), c.text) {
			t.Errorf("%s: %d %s, want %d %s", name, got.Code, got.Body, c.status, c.text)
		}
	}
	w.stale = true
	if got := w.do(at("repo=a/b&reference=1")); got.Code != http.StatusOK || got.Body.String() != want || got.Header().Get("X-Zot-Consistency") != "stale" {
		t.Errorf("without a quorum: %d %s %v", got.Code, got.Body, got.Header())
	}
	if got := w.do(at("repo=a/b&reference=" + signature.String())); got.Code != http.StatusServiceUnavailable { // it may be signed by now
		t.Errorf("without a quorum, no signature: %d %s", got.Code, got.Body)
	}
	if got := w.do(at("repo=a/b&reference=2")); got.Code != http.StatusServiceUnavailable { // it may be there by now
		t.Errorf("without a quorum, not found: %d %s", got.Code, got.Body)
	}
}

// A condition on the tag is judged for the tag that is asked for.
func TestWhoHasSignedByTag(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string][2]int{ // of prod and dev-1
		`req.tag == '' || req.tag.startsWith('dev-')`: {http.StatusForbidden, http.StatusOK},
		`req.tag.startsWith('dev-')`:                  {http.StatusForbidden, http.StatusOK},
		`req.reference == 'prod'`:                     {http.StatusOK, http.StatusForbidden},
	} {
		rules, err := access.Compile(access.Config{Repositories: map[string]access.Repository{"a/**": {Policies: []access.Policy{
			{Users: []string{"ann"}, Actions: access.Read, Conditions: []access.Condition{{Expression: expression}}},
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorldWith(t, func(c *auth.Config) { c.Rules = rules })
		w.push("a/b", "prod", `{"image":1}`, nil)
		w.push("a/b", "dev-1", `{"image":2}`, nil)
		for n, tag := range []string{"prod", "dev-1"} {
			if got := w.do(call{method: "GET", path: "/v2/_zot/ext/signatures?repo=a/b&reference=" + tag, name: "ann"}); got.Code != want[n] {
				t.Errorf("%s: %s: %d %s", expression, tag, got.Code, got.Body)
			}
		}
	}
}
