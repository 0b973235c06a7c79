package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/cluster/entry"
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

// Who may not read is told by no refusal which image a tag names, and who may read is.
func TestTagConditionsAreToldToReaders(t *testing.T) {
	t.Parallel()
	config := digest.FromString("config").String()
	other := digest.FromString("other").String()
	for name, test := range map[string]struct {
		do             access.Action
		method, header string
		want           int
	}{
		"create if it is not there":            {access.Create, http.MethodPut, "If-None-Match: *", 412},
		"create or update if it is not there":  {access.Create | access.Update, http.MethodPut, "If-None-Match: *", 412},
		"create or update if it is another":    {access.Create | access.Update, http.MethodPut, `If-Match: "` + other + `"`, 412},
		"update if it is another, for ever so": {access.Update, http.MethodPut, `If-Match: "` + other + `"`, 412},
		"delete if it is another":              {access.Delete, http.MethodDelete, `If-Match: "` + other + `"`, 412},
		"create where one is":                  {access.Create, http.MethodPut, "", 403},
	} {
		w := newWorld(t)
		w.pushImage("1", "")
		g := w.gated(auth.Config{Methods: []auth.Method{passwords{"writer": nil, "reader": nil}}, Rules: compiled(t, access.Config{Repositories: map[string]access.Repository{
			"**": {Policies: []access.Policy{{Users: []string{"writer"}, Actions: test.do}, {Users: []string{"reader"}, Actions: test.do | access.Read}}},
		}})})
		for _, who := range []string{"writer", "reader"} {
			c := call{method: test.method, path: "/v2/a/b/manifests/1", header: []string{as(who)}}
			if test.header != "" {
				c.header = append(c.header, test.header)
			}
			if c.method == http.MethodPut {
				c.header, c.body = append(c.header, "Content-Type: "+typeImage), image(config, `,"annotations":{"x":"y"}`)
			}
			got := send(t, g, c)
			told := strings.Contains(got.Body.String(), digest.FromString(image(config, "")).String())
			if got.Code != test.want || told != (who == "reader" && test.want == 412) {
				t.Errorf("%s, as %s: %d %s", name, who, got.Code, got.Body)
			}
		}
	}
}

// overtaken has something done just before each proposal.
type overtaken struct {
	*proposer

	first func()
}

func (o overtaken) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	o.first()
	return o.proposer.Propose(ctx, payload)
}

// Who may only move a tag tries again when somebody else has moved it meanwhile.
func TestTagThatIsMovedMeanwhile(t *testing.T) {
	t.Parallel()
	for who, tells := range map[string]bool{"writer": false, "reader": true} {
		w := newWorld(t)
		w.pushImage("1", "")
		gate, moved := auth.New(auth.Config{Methods: []auth.Method{passwords{"writer": nil, "reader": nil}}, Rules: compiled(t, access.Config{Repositories: map[string]access.Repository{
			"**": {Policies: []access.Policy{{Users: []string{"writer"}, Actions: access.Update}, {Users: []string{"reader"}, Actions: access.Update | access.Read}}},
		}})}), ""
		c := api.DefaultConfig()
		c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
		g, err := api.New(c, api.Deps{
			Proposer:    overtaken{w.proposer, func() { moved = w.pushImage("1", `,"annotations":{"x":"meanwhile"}`) }},
			Consistency: w.consistency, State: w.state, Stores: only(w.blobs, nil), Gate: func() *auth.Gate { return gate },
		})
		if err != nil {
			t.Fatal(err)
		}
		got := send(t, g, call{
			method: http.MethodPut, path: "/v2/a/b/manifests/1", header: []string{as(who), "Content-Type: " + typeImage},
			body: image(digest.FromString("config").String(), `,"annotations":{"x":"y"}`),
		})
		if got.Code != http.StatusServiceUnavailable || strings.Contains(got.Body.String(), moved) != tells || !tells && strings.Contains(got.Body.String(), "sha256") {
			t.Errorf("%s: %d %s", who, got.Code, got.Body)
		}
	}
}
