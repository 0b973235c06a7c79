package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// behind has a node judge by these rules: alice owns secret/*, bob owns his/*, and in a/* he may change what is there.
func behind(t *testing.T) option {
	t.Helper()
	gate := auth.New(auth.Config{
		Methods: []auth.Method{passwords{"alice": nil, "bob": nil}},
		Rules: compiled(t, access.Config{Repositories: map[string]access.Repository{
			"secret/*": {Policies: []access.Policy{{Users: []string{"alice"}, Actions: everything}}},
			"his/*":    {Policies: []access.Policy{{Users: []string{"bob"}, Actions: everything}}},
			"a/*":      {Policies: []access.Policy{{Users: []string{"alice"}, Actions: everything}, {Users: []string{"bob"}, Actions: access.Read | access.Update}}},
		}}),
	})
	return func(n *node) { n.gate = func() *auth.Gate { return gate } }
}

// byAll is what one node says to another of a client that may do everything.
const byAll = `X-Zot-Caller: {"Everything":true}`

// headerTricks are lines by which a client would have one node tell another something else of it.
func headerTricks() map[string][]string {
	const admin = `X-Zot-Caller: {"Name":"alice","Everything":true}`
	return map[string][]string{
		"no trick":                      nil,
		"a caller":                      {admin},
		"a caller, and it is dropped":   {admin, "Connection: X-Zot-Caller"},
		"the caller is dropped":         {"Connection: X-Zot-Caller"},
		"the caller is dropped, too":    {"Connection: close, x-zot-caller", "Connection: X-ZOT-CALLER"},
		"all is dropped":                {"Connection: X-Zot-Caller, X-Zot-Origin, X-Request-Id, Authorization"},
		"in a trailer":                  {"Trailer: X-Zot-Caller"},
		"an upgrade":                    {"Connection: Upgrade, X-Zot-Caller", "Upgrade: websocket"},
		"with underscores":              {`X_Zot_Caller: {"Name":"alice"}`},
		"another origin and request id": {"X-Zot-Origin: https://evil.example", "X-Request-Id: of the client", "Forwarded: for=evil.example", "X-Forwarded-Host: evil.example"},
	}
}

// Whatever a client sends, another node that answers in this one's place hears from this one who the client is: it
// shows a list of what they may read, mounts what they may read, and moves the tags that they may move.
func TestAnotherNodeHearsOfTheCallerFromThisOne(t *testing.T) {
	t.Parallel()
	for name, lines := range headerTricks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := join(t, behind(t)).serve()
				asBob := func(method, path, body string) *httptest.ResponseRecorder {
					return c.nodes[2].doLines(append([]string{as("bob"), "Content-Type: " + typeImage}, lines...), method, path, body)
				}
				secret := digest.FromString("secret").String()
				c.nodes[0].must(http.StatusCreated, call{method: "POST", path: "/v2/secret/x/blobs/uploads/?digest=" + secret, body: "secret", header: []string{as("alice")}})
				for _, repository := range []string{"secret/x", "a/b"} {
					config := "config"
					c.nodes[0].must(http.StatusCreated, call{method: "POST", path: withDigest("/v2/"+repository+"/blobs/uploads/", config), body: config, header: []string{as("alice")}})
					c.nodes[0].must(http.StatusCreated, call{method: "PUT", path: "/v2/" + repository + "/manifests/v1", body: image(digest.FromString(config).String(), ""), header: []string{as("alice"), "Content-Type: " + typeImage}})
				}
				c.nodes[2].lag() // so that the leader answers
				defer c.nodes[2].hurry()
				c.nodes[0].must(http.StatusCreated, call{method: "POST", path: withDigest("/v2/his/own/blobs/uploads/", "x"), body: "x", header: []string{as("bob")}})
				if got := asBob("GET", "/v2/_catalog", ""); got.Code != http.StatusOK || strings.Contains(got.Body.String(), "secret") {
					t.Errorf("catalog: %d %s", got.Code, got.Body)
				}
				if got := asBob("POST", "/v2/his/own/blobs/uploads/?mount="+secret+"&from=secret/x", ""); got.Code != http.StatusAccepted {
					t.Errorf("mount of what is another's: %d %s", got.Code, got.Body)
				}
				manifest := image(digest.FromString("config").String(), `,"annotations":{"by":"bob"}`)
				if got := asBob("PUT", "/v2/a/b/manifests/new", manifest); got.Code != http.StatusForbidden {
					t.Errorf("a tag that is not there yet: %d %s", got.Code, got.Body)
				}
				if got := asBob("GET", "/v2/a/b/tags/list", ""); got.Code != http.StatusOK || strings.Contains(got.Body.String(), "new") || strings.Contains(fmt.Sprint(got.Header()), "of the client") {
					t.Errorf("tags: %d %s, %v", got.Code, got.Body, got.Header())
				}
				if got := asBob("GET", "/v2/secret/x/tags/list", ""); got.Code != http.StatusForbidden || strings.Contains(fmt.Sprint(got.Header()), "evil") {
					t.Errorf("tags of another: %d %s, %v", got.Code, got.Body, got.Header())
				}
				if c.forwards() < 3 {
					t.Errorf("%d requests were answered elsewhere", c.forwards())
				}
			})
		})
	}
}

// doLines sends a request whose header is these lines, of which one name may have several.
func (n *node) doLines(lines []string, method, path, body string) *httptest.ResponseRecorder {
	n.c.t.Helper()
	r := httptest.NewRequestWithContext(n.c.t.Context(), method, path, strings.NewReader(body))
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	answer := httptest.NewRecorder()
	n.ServeHTTP(answer, r)
	return answer
}
