package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Three nodes, as processes, take in what their files come to say, each by itself: by a signal, and without one where the
// file is reached through links, as those of Kubernetes are.
func TestReloadOfThreeNodes(t *testing.T) {
	t.Parallel()
	all := threeNodes(t)
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice")+htpasswdLine(t, "bob"))
	started := make([]string, len(all))
	dir := t.TempDir()
	publish := func(version, content string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, version, "config.json"), content)
		replace(t, version, filepath.Join(dir, "..data"))
	}
	for i, p := range all {
		b, err := os.ReadFile(p.file)
		if err != nil {
			t.Fatal(err)
		}
		started[i] = string(b)
	}
	publish("..1", started[2])
	all[2].file = filepath.Join(dir, "config.json")
	replace(t, filepath.Join("..data", "config.json"), all[2].file)

	with := func(n int, more string) string { // in the section "http", which has the port already
		return strings.Replace(started[n], fmt.Sprintf(`"port": %q`, all[n].port), fmt.Sprintf(`"port": %q%s`, all[n].port, more), 1)
	}
	say := func(version, more string) {
		t.Helper()
		for n, p := range all[:2] {
			put(t, p.file, with(n, more))
			p.signal(syscall.SIGHUP)
		}
		publish(version, with(2, more))
	}
	restart(all)
	wants := func(when string, status int, method, path, name string) {
		t.Helper()
		for _, p := range all {
			got := 0
			eventually(t, fmt.Sprintf("%s, %s: %s as %q is %d", p.name, when, method, name, status), func() bool {
				got = wish{method: method, url: "http://127.0.0.1:" + p.port + path, name: name, password: name}.ask(t).status
				return got == status
			})
		}
	}
	push, pull := "/v2/team/app/blobs/uploads/?digest="+emptyBlob, "/v2/team/app/blobs/"+emptyBlob
	wants("open", http.StatusCreated, "POST", push, "")
	login := fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}}`, passwords)
	say("..2", login+`, "accessControl": {"repositories": {"**": {"policies": [{"users": ["alice"], "actions": ["read", "create"]}]}}}`)
	wants("closed", http.StatusUnauthorized, "GET", pull, "")
	wants("alice's", http.StatusCreated, "POST", push, "alice")
	wants("not bob's", http.StatusForbidden, "GET", pull, "bob")
	say("..3", login+`, "accessControl": {"repositories": {"**": {"policies": [{"users": ["bob"], "actions": ["read"]}]}}}`)
	wants("bob's", http.StatusOK, "GET", pull, "bob")
	wants("not alice's", http.StatusForbidden, "GET", pull, "alice")

	// Half of the nodes have a file that is none: they go on as they were.
	say("..4", login+`, "accessControl": {"repositories": {"**": {"defaultPolicy": ["read"]}}}, "colour": "red"`)
	for _, p := range all {
		eventually(t, p.name+" says what is wrong", func() bool { return strings.Contains(p.out.String(), `"key":"http.colour"`) })
	}
	wants("not alice's", http.StatusForbidden, "GET", pull, "alice")
	say("..5", "")
	wants("open again", http.StatusCreated, "POST", push, "")
}

// replace has a name lead to a place, by a link that is renamed over what has the name.
func replace(t *testing.T, place, name string) {
	t.Helper()
	_ = os.Remove(name + ".new")
	if err := os.Symlink(place, name+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}
