package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// wish is a request of somebody.
type wish struct {
	method, url, name, password, body string

	header []string // "Name: value"
}

// heard is the answer to it.
type heard struct {
	status  int
	header  http.Header
	cookies []*http.Cookie
	body    string
}

// ask sends it, and follows nobody.
func (w wish) ask(t *testing.T) heard {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), w.method, w.url, strings.NewReader(w.body))
	if err != nil {
		t.Fatal(err)
	}
	if w.name != "" {
		r.SetBasicAuth(w.name, w.password)
	}
	for _, line := range w.header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := once.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return heard{status: answer.StatusCode, header: answer.Header, cookies: answer.Cookies(), body: string(body)}
}

// unsettled reports whether a node has no quorum at the moment: it says so, or that what it tells may be old. A busy machine may
// have elections at any time.
func (h heard) unsettled() bool {
	return h.status == http.StatusServiceUnavailable || h.header.Get("X-Zot-Consistency") != ""
}

// insist asks until it is done, as clients do that are told to come again, for as long as a test may wait. Whoever came again in less
// than a second would be taken for one who guesses.
func insist(t *testing.T, ask func() (done bool)) {
	t.Helper()
	for began := time.Now(); !ask() && time.Since(began) < patience; {
		sleep(t.Context(), 1100*time.Millisecond)
	}
}

// settled is ask, once there is a quorum.
func (w wish) settled(t *testing.T) (answer heard) {
	t.Helper()
	insist(t, func() bool { answer = w.ask(t); return !answer.unsettled() })
	return answer
}

// must is ask of what must be answered with a status, once there is a quorum.
func (w wish) must(t *testing.T, status int) (answer heard) {
	t.Helper()
	insist(t, func() bool { answer = w.ask(t); return answer.status == status || !answer.unsettled() })
	if answer.status != status {
		t.Fatalf("%s %s as %q: %d %s, want %d", w.method, w.url, w.name, answer.status, answer.body, status)
	}
	return answer
}

// logged sees to it that no node of the test has logged a secret.
func logged(t *testing.T, secrets ...string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(filepath.Dir(t.TempDir()), "*", "config.json.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("there are no logs: %v", err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) == 0 {
			t.Errorf("%s is empty", name)
		}
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s has the secret %s", name, secret)
			}
		}
	}
}

// madeKey is what whoever makes an API key is shown.
type madeKey struct{ UUID, APIKey string }

// briefAPIKey has alice make an API key that is over after a while, and says when. On a busy machine that may be before it is asked
// for: then there is another.
func briefAPIKey(t *testing.T, node string, lasts time.Duration) (k madeKey, expires time.Time) {
	t.Helper()
	var answer heard
	insist(t, func() bool {
		expires = time.Now().Add(lasts)
		answer = wish{
			method: "POST", url: node + "/v2/_zot/ext/apikey", name: "alice", password: "alice",
			body: `{"expirationDate": "` + expires.UTC().Format(time.RFC3339Nano) + `"}`,
		}.ask(t)
		return !answer.unsettled() && !strings.Contains(answer.body, "expirationDate is in the past")
	})
	if err := json.Unmarshal([]byte(answer.body), &k); err != nil || answer.status != http.StatusCreated || k.APIKey == "" {
		t.Fatalf("%d %s: %v", answer.status, answer.body, err)
	}
	return k, expires
}

// newAPIKey has alice make an API key at a node.
func newAPIKey(t *testing.T, node, wanted string) (k madeKey) {
	t.Helper()
	body := wish{method: "POST", url: node + "/v2/_zot/ext/apikey", name: "alice", password: "alice", body: wanted}.must(t, 201).body
	if err := json.Unmarshal([]byte(body), &k); err != nil || k.APIKey == "" {
		t.Fatalf("%s: %v", body, err)
	}
	return k
}

// What is made on one node is good on each at once, and what is revoked on one is good on none.
func TestAPIKeysOnThreeNodes(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice")+htpasswdLine(t, "bob"))
	at, _, stop, start := threeWith(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "apikey": true}, "accessControl": {
		"repositories": {"**": {"policies": [{"users": ["alice"], "actions": ["read", "create"]}], "defaultPolicy": ["read"]}}}`, passwords))
	const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	push := func(node, repository, name, password string) wish {
		return wish{method: "POST", url: node + "/v2/" + repository + "/blobs/uploads/?digest=" + empty, name: name, password: password}
	}
	pull := func(node, repository, name, password string) wish {
		return wish{method: "GET", url: node + "/v2/" + repository + "/blobs/" + empty, name: name, password: password}
	}
	var all []madeKey
	for n := range at { // at each node in turn, and used at all others at once
		k := newAPIKey(t, at[n], `{"label": "ci"}`)
		all = append(all, k)
		for m := range at {
			push(at[(n+m+1)%3], "team/app", "alice", k.APIKey).must(t, 201)
			push(at[m], "team/app", "bob", k.APIKey).must(t, 401)
		}
	}
	scoped := newAPIKey(t, at[0], `{"label": "some", "scopes": ["team/*"], "expirationDate": "`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"}`)
	over, _ := briefAPIKey(t, at[0], 2*time.Second)
	for n := range at {
		push(at[n], "team/other", "alice", scoped.APIKey).must(t, 201)
		push(at[n], "else", "alice", scoped.APIKey).must(t, 403)
		pull(at[n], "else", "alice", scoped.APIKey).must(t, 403)
		wish{method: "GET", url: at[n] + "/zot/auth/apikey", name: "alice", password: scoped.APIKey}.must(t, 403)
		list := wish{method: "GET", url: at[n] + "/zot/auth/apikey", name: "alice", password: "alice"}.must(t, 200).body
		if strings.Contains(list, "zak_") || strings.Count(list, `"uuid"`) != 5 || !strings.Contains(list, scoped.UUID) {
			t.Errorf("the list is %s", list)
		}
		if list := (wish{method: "GET", url: at[n] + "/v2/_zot/ext/apikey", name: "bob", password: "bob"}).must(t, 200).body; list != `{"apiKeys":[]}` {
			t.Errorf("the list of another is %s", list)
		}
	}

	wish{method: "DELETE", url: at[1] + "/v2/_zot/ext/apikey?id=" + all[0].UUID, name: "bob", password: "bob"}.must(t, 404)
	stop(0)
	wish{method: "DELETE", url: at[2] + "/v2/_zot/ext/apikey?id=" + all[0].UUID, name: "alice", password: "alice"}.must(t, 200)
	for _, node := range at[1:] {
		pull(node, "team/app", "alice", all[0].APIKey).must(t, 401)
		pull(node, "team/app", "alice", all[1].APIKey).must(t, 200)
	}
	stop(1) // and with it the quorum
	if answer := pull(at[2], "team/app", "alice", all[1].APIKey).must(t, 200); answer.header.Get("X-Zot-Consistency") != "stale" {
		t.Error("without a quorum a pull is not marked stale")
	}
	pull(at[2], "team/app", "alice", all[0].APIKey).must(t, 503) // it may be elsewhere: who knows
	eventually(t, "the key is over", func() bool {
		return pull(at[2], "team/app", "alice", over.APIKey).ask(t).status == http.StatusUnauthorized
	})
	stop(2)
	var starting sync.WaitGroup
	for n := range at {
		starting.Go(func() { start(n) })
	}
	starting.Wait()
	for n := range at {
		pull(at[n], "team/app", "alice", all[0].APIKey).must(t, 401)
		pull(at[n], "team/app", "alice", over.APIKey).must(t, 401)
		pull(at[n], "team/app", "alice", all[2].APIKey).must(t, 200)
		pull(at[n], "team/other", "alice", scoped.APIKey).must(t, 200)
	}
	logged(t, all[0].APIKey, all[1].APIKey, all[2].APIKey, scoped.APIKey, over.APIKey)
}

// sessionAt logs alice in at a node, and returns the session.
func sessionAt(t *testing.T, node string) string {
	t.Helper()
	session := ""
	insist(t, func() bool { // without a quorum none comes of a login
		answer := wish{method: "GET", url: node + "/v2/", name: "alice", password: "alice", header: []string{"X-ZOT-API-CLIENT: zot-ui"}}.must(t, 200)
		for _, c := range answer.cookies {
			if c.Name == "session" {
				session = c.Value
			}
		}
		return session != ""
	})
	if session == "" {
		t.Fatal("no session")
	}
	return session
}

// Who has logged in on one node is known to all, and who logs out on one to none.
func TestSessionsOnThreeNodes(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	at, _, stop, start := threeWith(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "apikey": true}`, passwords))
	with := func(method, url, session string) wish {
		return wish{method: method, url: url, header: []string{"X-ZOT-API-CLIENT: zot-ui", "Cookie: session=" + session}}
	}
	var all []string
	for n := range at {
		session := sessionAt(t, at[n])
		all = append(all, session)
		for m := range at {
			node := at[(n+m+1)%3]
			with("GET", node+"/v2/", session).must(t, 200)
			wish{method: "GET", url: node + "/v2/", header: []string{"Cookie: session=" + session}}.must(t, 401)
			wish{method: "POST", url: node + "/zot/auth/logout", header: []string{"Cookie: session=" + session}}.must(t, 403)
		}
	}
	made := with("POST", at[1]+"/zot/auth/apikey", all[0])
	made.body = "{}"
	made.must(t, 201)

	stop(0)
	with("POST", at[1]+"/zot/auth/logout", all[0]).must(t, 200)
	for _, node := range at[1:] { // a list, as its answer would say that it is of before
		if answer := with("GET", node+"/v2/_catalog", all[0]).must(t, 401); len(answer.cookies) != 2 || answer.cookies[0].MaxAge >= 0 {
			t.Errorf("the cookies of a session that has ended: %v", answer.cookies)
		}
		with("GET", node+"/v2/", all[1]).must(t, 200)
	}
	stop(1) // and with it the quorum
	with("GET", at[2]+"/v2/", all[1]).must(t, 200)
	with("GET", at[2]+"/v2/", all[0]).must(t, 503)
	with("POST", at[2]+"/auth/logout", all[1]).must(t, 503)
	stop(2)
	var starting sync.WaitGroup
	for n := range at {
		starting.Go(func() { start(n) })
	}
	starting.Wait()
	with("POST", at[2]+"/auth/logout", all[2]).must(t, 200)
	with("POST", at[2]+"/auth/logout", all[2]).must(t, 200)
	for n := range at {
		with("GET", at[n]+"/v2/_catalog", all[0]).must(t, 401)
		with("GET", at[n]+"/v2/", all[1]).must(t, 200)
		with("GET", at[n]+"/v2/_catalog", all[2]).must(t, 401)
	}
	logged(t, all...)
}

// tokenAt has alice ask for a token at a node.
func tokenAt(t *testing.T, node, password, scope string) string {
	t.Helper()
	var answer struct{ Token string }
	body := wish{method: "GET", url: node + "/zot/auth/token?service=r&scope=" + scope, name: "alice", password: password}.must(t, 200).body
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Token == "" {
		t.Fatalf("%s: %v", body, err)
	}
	return answer.Token
}

// A token of any node is good on all, also when that node is gone, or all have been started anew.
func TestTokensOnThreeNodes(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	at, _, stop, start := threeWith(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "apikey": true}, "accessControl": {"repositories": {
		"**": {"policies": [{"users": ["alice"], "actions": ["read", "create"]}]}, "open/*": {"anonymousPolicy": ["read"]}}}`, passwords))
	const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	with := func(method, url, token string) wish {
		return wish{method: method, url: url, header: []string{"Authorization: Bearer " + token}}
	}
	push := func(node, repository, token string) wish {
		return with("POST", node+"/v2/"+repository+"/blobs/uploads/?digest="+empty, token)
	}
	var all []string
	for n := range at {
		token := tokenAt(t, at[n], "alice", "repository:team/app:pull,push")
		all = append(all, token)
		for m := range at {
			node := at[(n+m+1)%3]
			with("GET", node+"/v2/", token).must(t, 200)
			push(node, "team/app", token).must(t, 201)
			with("GET", node+"/v2/team/app/blobs/"+empty, token).must(t, 200)
			more := push(node, "team/other", token)
			more.url += "&mount=" + empty + "&from=team/app"
			want := fmt.Sprintf(`Bearer realm="%s/zot/auth/token",service=%q,scope="repository:team/other:pull,push repository:team/app:pull",error="insufficient_scope"`, node, strings.TrimPrefix(node, "http://"))
			if got := more.must(t, 401).header.Get("WWW-Authenticate"); got != want {
				t.Errorf("challenge %s, want %s", got, want)
			}
			with("DELETE", node+"/v2/team/app/blobs/"+empty, token).must(t, 403) // no token is for that
			with("GET", node+"/v2/_catalog", token).must(t, 401)
			with("GET", node+"/v2/_catalog", tokenAt(t, node, "alice", "registry:catalog:*")).must(t, 200)
		}
	}

	// An upload goes from node to node.
	begun := with("POST", at[0]+"/v2/team/app/blobs/uploads/", all[0]).must(t, 202).header.Get("Location")
	for n, step := range []string{"PATCH", "PATCH", "GET", "DELETE"} {
		one := with(step, at[n%3]+begun, all[n%3])
		if step == "PATCH" {
			one.body = "x"
		}
		if status := one.settled(t).status; status/100 != 2 {
			t.Errorf("%s of an upload: %d", step, status)
		}
	}

	k := newAPIKey(t, at[0], `{"scopes": ["team/*"]}`)
	keyed := tokenAt(t, at[1], k.APIKey, "repository:team/app:pull")
	var anonymous struct{ Token string }
	body := wish{method: "GET", url: at[0] + "/zot/auth/token?scope=repository:open/a:pull"}.must(t, 200).body
	if err := json.Unmarshal([]byte(body), &anonymous); err != nil {
		t.Fatal(err)
	}
	stop(0)
	for _, node := range at[1:] {
		with("GET", node+"/v2/team/app/blobs/"+empty, all[0]).must(t, 200)
		with("GET", node+"/v2/team/app/blobs/"+empty, keyed).must(t, 200)
		with("GET", node+"/v2/open/a/tags/list", anonymous.Token).must(t, 404)
		with("GET", node+"/v2/team/app/tags/list", anonymous.Token).must(t, 401)
	}
	wish{method: "DELETE", url: at[2] + "/zot/auth/apikey?id=" + k.UUID, name: "alice", password: "alice"}.must(t, 200)
	with("GET", at[2]+"/v2/team/app/blobs/"+empty, keyed).must(t, 401)
	eventually(t, "the other node has applied it", func() bool {
		return with("GET", at[1]+"/v2/team/app/blobs/"+empty, keyed).ask(t).status == 401
	})
	stop(1)
	stop(2)
	var starting sync.WaitGroup
	for n := range at {
		starting.Go(func() { start(n) })
	}
	starting.Wait()
	for n := range at {
		with("GET", at[n]+"/v2/team/app/blobs/"+empty, all[n]).must(t, 200)
		with("GET", at[n]+"/v2/team/app/blobs/"+empty, keyed).must(t, 401)
	}
	logged(t, append(all, k.APIKey, keyed, anonymous.Token)...)
}
