package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// Who may create and not read is told that a tag is there, and not of which image.
func TestTagThatIsThereIsDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushImage("1", "")
	config := digest.FromString("config").String()
	g := w.gated(auth.Config{Methods: []auth.Method{passwords{"writer": nil}}, Rules: compiled(t, access.Config{Repositories: map[string]access.Repository{
		"**": {Policies: []access.Policy{{Users: []string{"writer"}, Actions: access.Create}}},
	}})})
	got := send(t, g, call{method: http.MethodPut, path: "/v2/a/b/manifests/1", header: []string{as("writer"), "Content-Type: " + typeImage}, body: image(config, `,"annotations":{"x":"y"}`)})
	if body := got.Body.String(); got.Code != http.StatusForbidden || !strings.Contains(body, "which takes update") || strings.Contains(body, "sha256") {
		t.Errorf("%d %s", got.Code, body)
	}
}
