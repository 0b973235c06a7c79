package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// on is a policy for alice.
func on(do access.Action, expression, message string) access.Policy {
	return access.Policy{Users: []string{"alice"}, Actions: do, Conditions: []access.Condition{{Expression: expression, Message: message}}}
}

// TestConditionalTags has each tag of a put judged by itself, whichever way it is named.
func TestConditionalTags(t *testing.T) {
	t.Parallel()
	config := digest.FromString("config").String()
	same, other := image(config, ""), image(config, `,"annotations":{"x":"y"}`)
	byDigest := "/v2/a/b/manifests/" + digest.FromString(other).String()
	for _, test := range []struct {
		path, body string
		want       int
		said       string
	}{
		{"/v2/a/b/manifests/dev-1", other, 201, ""},
		{"/v2/a/b/manifests/dev-old", other, 201, ""}, // moved
		{"/v2/a/b/manifests/v1", other, 403, "dev tags alone"},
		{"/v2/a/b/manifests/dev-1?tag=dev-2", other, 201, ""},
		{"/v2/a/b/manifests/dev-1?tag=v1", other, 403, "dev tags alone"},
		{byDigest, other, 201, ""},
		{byDigest + "?tag=dev-1&tag=dev-2", other, 201, ""},
		{byDigest + "?tag=dev-1&tag=v1", other, 403, "dev tags alone"},
		{"/v2/a/b/manifests/new-1", other, 201, ""},
		{"/v2/a/b/manifests/new-old", other, 403, ""},             // it may only be created
		{"/v2/a/b/manifests/new-old", same, 201, ""},              // and it is
		{"/v2/a/b/manifests/old-old", other, 201, ""},             // it may only be moved
		{"/v2/a/b/manifests/old-1", other, 403, "dev tags alone"}, // and is not there
		{"/v2/a/b/manifests/dev-1?tag=new-1&tag=old-old", other, 201, ""},
		{"/v2/a/b/manifests/dev-1?tag=new-old&tag=old-old", other, 403, ""},
	} {
		t.Run(fmt.Sprintf("%.40s/%d", test.path, test.want), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, tag := range []string{"dev-old", "new-old", "old-old"} {
				w.pushImage(tag, "")
			}
			g := w.gated(auth.Config{Methods: []auth.Method{passwords{"alice": nil}}, Rules: compiled(t, access.Config{Repositories: map[string]access.Repository{"a/*": {Policies: []access.Policy{
				on(access.Create|access.Update, `req.tag == "" || req.tag.startsWith("dev-") || req.tag.startsWith("new-") && req.action == "create" || req.tag.startsWith("old-") && req.action == "update"`, "dev tags alone"),
			}}}})})
			got := send(t, g, call{method: http.MethodPut, path: test.path, header: []string{as("alice"), "Content-Type: " + typeImage}, body: test.body})
			if got.Code != test.want || !strings.Contains(got.Body.String(), test.said) {
				t.Errorf("%d %s, want %d", got.Code, got.Body, test.want)
			}
		})
	}
}

// TestConditionalReads has the catalog, mounts and messages go by conditions too.
func TestConditionalReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"a/b", "a/c", "d/e", "named"} {
		body := image(w.push(name, "config of "+name), "")
		w.must(http.StatusCreated, call{method: "PUT", path: "/v2/" + name + "/manifests/1", header: []string{"Content-Type: " + typeImage}, body: body})
	}
	blob := func(of string) string { return digest.FromString("config of " + of).String() }
	g := w.gated(auth.Config{Methods: []auth.Method{passwords{"alice": nil, "bob": nil}}, Rules: compiled(t, access.Config{Repositories: map[string]access.Repository{
		"named": {Policies: []access.Policy{on(access.Read, `req.tag == "1" || req.digest == "`+blob("named")+`"`, "")}},
		"**": {Policies: []access.Policy{
			on(access.Read, `!req.repository.endsWith("/c") && req.client.ip == "192.0.2.1"`, `c is "not" for alice`),
			on(access.Create, `true`, ""), on(access.Read, `req.claims.none`, "cannot be told"),
		}},
	}})})
	for _, test := range []struct {
		call call
		want int
		said string
	}{
		{call{method: "GET", path: "/v2/_catalog"}, 200, `{"repositories":["a/b","d/e"]}`},
		{call{method: "GET", path: "/v2/a/b/manifests/1"}, 200, ""},
		{call{method: "GET", path: "/v2/a/c/manifests/1"}, 403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied: c is \"not\" for alice"`},
		{call{method: "POST", path: "/v2/x/blobs/uploads/?from=d/e&mount=" + blob("d/e")}, 201, ""},
		{call{method: "POST", path: "/v2/x/blobs/uploads/?from=a/c&mount=" + blob("a/c")}, 202, ""},
		{call{method: "POST", path: "/v2/x/blobs/uploads/?mount=" + blob("a/c")}, 202, ""},
		{call{method: "GET", path: "/v2/named/manifests/1"}, 200, ""},
		{call{method: "GET", path: "/v2/named/manifests/2"}, 403, ""},
		{call{method: "GET", path: "/v2/named/blobs/" + blob("named")}, 200, ""},
		{call{method: "GET", path: "/v2/named/blobs/" + blob("a/b")}, 403, ""},
		{call{method: "DELETE", path: "/v2/a/b/manifests/1"}, 403, `is denied"`},
	} {
		test.call.header = []string{as("alice")}
		if got := send(t, g, test.call); got.Code != test.want || !strings.Contains(got.Body.String(), test.said) {
			t.Errorf("%s %s: %d %s, want %d %s", test.call.method, test.call.path, got.Code, got.Body, test.want, test.said)
		}
	}
	c := call{method: "GET", path: "/v2/a/c/manifests/1", header: []string{as("bob")}}
	if got := send(t, g, c); got.Code != 403 || strings.Contains(got.Body.String(), "for alice") {
		t.Errorf("bob: %d %s", got.Code, got.Body)
	}
}
