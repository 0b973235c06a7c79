package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// htpasswdLine is a line for a name whose password is the name again.
func htpasswdLine(t *testing.T, name string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(name), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + string(h) + "\n"
}

// A push goes from node to node, each of which asks who it is, and passes on to the owner of the upload who it was.
func TestAccessOnThreeNodes(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice")+htpasswdLine(t, "bob"))
	at, _, _, _ := threeWith(t, fmt.Sprintf(`, "realm": "zot", "auth": {"htpasswd": {"path": %q}, "apikey": true}, "accessControl": {
		"repositories": {"team/**": {"policies": [{"users": ["alice"], "actions": ["read", "create"]}], "defaultPolicy": ["read"]}}}`, passwords))
	const (
		uploads = "/v2/team/app/blobs/uploads/"
		empty   = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	)
	settled := func(method, url, name, password, body string) (status int, challenge string) {
		t.Helper()
		answer := wish{method: method, url: url, name: name, password: password, body: body}.settled(t)
		return answer.status, answer.header.Get("WWW-Authenticate")
	}
	for n, node := range at {
		for _, test := range []struct {
			method, path, name, password string
			status                       int
		}{
			{"GET", "/v2/", "", "", 401},
			{"GET", "/v2/", "bob", "bob", 200},
			{"GET", "/v2/", "bob", "alice", 401},
			{"POST", uploads + "?digest=" + empty, "", "", 401},
			{"POST", uploads + "?digest=" + empty, "bob", "bob", 403},
			{"POST", uploads + "?digest=" + empty, "alice", "alice", 201},
			{"HEAD", "/v2/team/app/blobs/" + empty, "bob", "bob", 200},
			{"GET", "/v2/else/tags/list", "alice", "alice", 403},
			{"DELETE", "/v2/team/app/blobs/" + empty, "alice", "alice", 403},
			{"GET", "/readyz", "", "", 200},
		} {
			status, challenge := settled(test.method, node+test.path, test.name, test.password, "")
			want := ""
			switch {
			case status != 401 && status != 403:
			case test.name == "":
				want = fmt.Sprintf(`Bearer realm="%s/zot/auth/token",service=%q`, node, strings.TrimPrefix(node, "http://"))
			default:
				want = `Basic realm="zot"`
			}
			if head, _, _ := strings.Cut(challenge, ",scope="); status != test.status || head != want {
				t.Errorf("node %d: %s %s as %q: %d, challenge %q; want %d", n, test.method, test.path, test.name, status, challenge, test.status)
			}
		}
	}
	begun := ""
	for n, step := range []struct{ method, body string }{{"PATCH", "a"}, {"PATCH", "b"}, {"GET", ""}, {"DELETE", ""}} { // each at another node than the last
		if begun == "" {
			begun = locationOf(t, at[0]+uploads)
		}
		if status, _ := settled(step.method, at[n%3]+begun, "bob", "bob", step.body); status != 403 {
			t.Errorf("%s of the upload of another: %d", step.method, status)
		}
		if status, _ := settled(step.method, at[n%3]+begun, "alice", "alice", step.body); status/100 != 2 {
			t.Errorf("%s of an upload: %d", step.method, status)
		}
	}

	// What a node takes of a client it can pass on, with all that it says of them: net/http takes 4 KiB more than it is told.
	k := newAPIKey(t, at[0], `{"scopes": ["team/*"`+strings.Repeat(`, "`+strings.Repeat("x", 500)+`"`, 15)+`]}`)
	begun = locationOf(t, at[0]+uploads)
	for n := range at { // the first is the owner
		large := "X-Large: " + strings.Repeat("x", maxHeader+2<<10)
		begun = wish{method: "PATCH", url: at[n] + begun, name: "alice", password: k.APIKey, body: "a", header: []string{large}}.must(t, 202).header.Get("Location")
	}
}

// locationOf begins an upload as alice.
func locationOf(t *testing.T, url string) string {
	t.Helper()
	return wish{method: http.MethodPost, url: url, name: "alice", password: "alice"}.must(t, http.StatusAccepted).header.Get("Location")
}
