package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/oauth2-proxy/mockoidc"
)

// providerOf is a provider until the test ends, and the section "auth" of nodes that know it as oidc.
func providerOf(t *testing.T) (provider *mockoidc.MockOIDC, section string) {
	t.Helper()
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Shutdown() })
	return provider, fmt.Sprintf(`, "auth": {"openid": {"providers": {"oidc": {"name": "Ours", "issuer": %q, "clientid": %q, "clientsecret": %q, "scopes": ["openid", "email", "groups"]}}}},
		"accessControl": {"repositories": {"**": {"policies": [{"groups": ["engineering"], "actions": ["read", "create"]}]}}}`,
		provider.Issuer(), provider.ClientID, provider.ClientSecret)
}

// browser is one that keeps cookies for a balancer, and asks the node behind that which the test says.
type browser struct {
	cookies map[string]*http.Cookie
	alone   bool // there is no quorum, and nobody waits for one
}

// visit asks a node, and follows nobody.
func (b *browser) visit(t *testing.T, method, address string, header ...string) heard {
	t.Helper()
	for _, c := range b.cookies {
		header = append(header, "Cookie: "+c.Name+"="+c.Value)
	}
	w := wish{method: method, url: address, header: header}
	ask := w.settled
	if b.alone {
		ask = w.ask
	}
	answer := ask(t)
	for _, c := range answer.cookies {
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return answer
}

// begin begins a login at a node, has the provider agree, and returns the path that it sends the browser back to.
func (b *browser) begin(t *testing.T, node, back string) string {
	t.Helper()
	answer := b.visit(t, "GET", node+"/zot/auth/login?provider=oidc&callback_ui="+url.QueryEscape(back))
	if answer.status != http.StatusFound {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	agreed := wish{method: "GET", url: answer.header.Get("Location")}.must(t, http.StatusFound)
	to, path, _ := strings.Cut(strings.TrimPrefix(agreed.header.Get("Location"), "http://"), "/")
	if "http://"+to != node {
		t.Errorf("the provider sends the browser to %s, it has come from %s", to, node)
	}
	return "/" + path
}

const fromZotPages = "X-ZOT-API-CLIENT: zot-ui"

// A login begins at one node, ends at another, and is good on all at once.
func TestOpenIDOnThreeNodes(t *testing.T) {
	t.Parallel()
	provider, section := providerOf(t)
	at, _, stop, start := threeWith(t, section)
	var all []*browser
	for n := range at {
		b := &browser{cookies: map[string]*http.Cookie{}}
		back := b.begin(t, at[n], "/explore")
		flight := b.cookies["statecookie"].Value
		answer := b.visit(t, "GET", at[(n+1)%3]+back, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
		if answer.status != http.StatusFound || answer.header.Get("Location") != "/explore" || b.cookies["session"] == nil || b.cookies["user"].Value != "jane.doe@example.com" || b.cookies["statecookie"] != nil {
			t.Fatalf("%d %s, cookies %v", answer.status, answer.body, b.cookies)
		}
		if answer := b.visit(t, "GET", at[(n+2)%3]+"/v2/", fromZotPages); answer.status != http.StatusOK {
			t.Errorf("the session: %d %s", answer.status, answer.body)
		}
		if answer := b.visit(t, "GET", at[(n+2)%3]+"/v2/"); answer.status != http.StatusUnauthorized {
			t.Errorf("the session without the header: %d", answer.status)
		}
		again := &browser{cookies: map[string]*http.Cookie{"statecookie": {Name: "statecookie", Value: flight}}}
		for _, node := range at {
			if answer := again.visit(t, "GET", node+back); answer.status != http.StatusUnauthorized || again.cookies["session"] != nil || strings.HasPrefix(answer.header.Get("WWW-Authenticate"), "Basic") {
				t.Errorf("a second time: %d %s, cookies %v", answer.status, answer.body, again.cookies)
			}
		}
		all = append(all, b)
	}

	// Whoever logs in again, or as another, has another session, and the one before is over.
	before := all[2].cookies["session"].Value
	if answer := all[2].visit(t, "GET", at[0]+all[2].begin(t, at[1], "")); answer.status != http.StatusCreated || all[2].cookies["session"].Value == before {
		t.Errorf("%d %s, cookies %v", answer.status, answer.body, all[2].cookies)
	}
	wish{method: "GET", url: at[1] + "/v2/_catalog", header: []string{fromZotPages, "Cookie: session=" + before}}.must(t, http.StatusUnauthorized)

	// What the provider says of groups goes along into API keys.
	key := keyOfSession(t, at[1], all[1])
	for _, node := range at {
		wish{method: "POST", url: node + "/v2/team/app/blobs/uploads/", name: "jane.doe@example.com", password: key}.must(t, http.StatusAccepted)
		wish{method: "POST", url: node + "/v2/team/app/blobs/uploads/", name: "jane.doe@example.com", password: "guess"}.must(t, http.StatusUnauthorized)
	}

	waiting := &browser{cookies: map[string]*http.Cookie{}}
	back := waiting.begin(t, at[0], "/explore")
	stop(0)
	if answer := all[0].visit(t, "POST", at[1]+"/zot/auth/logout", fromZotPages); answer.status != http.StatusOK || answer.body != "{}" || len(all[0].cookies) != 0 {
		t.Errorf("logout: %d %s, cookies %v", answer.status, answer.body, all[0].cookies)
	}
	for _, node := range at[1:] {
		if answer := all[1].visit(t, "GET", node+"/v2/", fromZotPages); answer.status != http.StatusOK {
			t.Errorf("with a node less: %d", answer.status)
		}
	}
	stop(1) // and with it the quorum: nobody can log in, and nothing is left of who tried
	alone := &browser{cookies: map[string]*http.Cookie{}, alone: true}
	if answer := alone.visit(t, "GET", at[2]+alone.begin(t, at[2], "/")); answer.status != http.StatusServiceUnavailable || len(alone.cookies) != 0 {
		t.Errorf("without a quorum: %d %s, cookies %v", answer.status, answer.body, alone.cookies)
	}
	stop(2)
	var starting sync.WaitGroup
	for n := range at {
		starting.Go(func() { start(n) })
	}
	starting.Wait()
	for _, node := range at {
		if answer := all[1].visit(t, "GET", node+"/v2/", fromZotPages); answer.status != http.StatusOK {
			t.Errorf("after a restart: %d", answer.status)
		}
	}
	if answer := waiting.visit(t, "GET", at[1]+back); answer.status != http.StatusFound {
		t.Errorf("what began before the restart: %d %s", answer.status, answer.body)
	}
	logged(t, key, before, provider.ClientSecret, all[1].cookies["session"].Value)
}

// keyOfSession makes an API key in a session.
func keyOfSession(t *testing.T, node string, b *browser) string {
	t.Helper()
	answer := wish{method: "POST", url: node + "/zot/auth/apikey", body: `{"label": "ci"}`, header: []string{fromZotPages, "Cookie: session=" + b.cookies["session"].Value}}.must(t, http.StatusCreated)
	var made madeKey
	if err := json.Unmarshal([]byte(answer.body), &made); err != nil || made.APIKey == "" {
		t.Fatalf("%s: %v", answer.body, err)
	}
	return made.APIKey
}

// A provider that is down keeps no node from serving, and what browsers must not be sent to is refused.
func TestOpenIDOnOneNode(t *testing.T) {
	t.Parallel()
	ports, dir := freePorts(t, 2), shortDir(t)
	credentials := filepath.Join(dir, "client.json")
	put(t, credentials, `{"clientid": "i", "clientsecret": "hunter2"}`)
	file := configIn(t, filepath.Join(dir, "root"), fmt.Sprintf(`, "http": {"port": %q, "auth": {"openid": {"callbackAllowOrigins": ["https://pages.example"], "providers": {
		"dex": {"issuer": "http://127.0.0.1:%s/dex", "credentialsFile": %q, "scopes": ["openid", "email"], "name": "Ours"},
		"github": {"clientid": "i", "clientsecret": "hunter3", "scopes": ["user:email"]}}}}}, "extensions": {"mgmt": {}}`, ports[0], ports[1], credentials))
	stop := started(t, file)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	node := "http://127.0.0.1:" + ports[0]
	for path, status := range map[string]int{
		"/v2/":                          http.StatusUnauthorized,
		"/zot/auth/login":               http.StatusBadRequest,
		"/zot/auth/login?provider=none": http.StatusBadRequest,
		"/auth/login?provider=dex":      http.StatusServiceUnavailable,
		"/auth/callback/dex":            http.StatusUnauthorized,
		"/zot/auth/callback/dex?code=a": http.StatusUnauthorized,
		"/auth/callback/none":           http.StatusBadRequest,
		"/auth/callback/":               http.StatusBadRequest,
		"/auth/callback/dex/":           http.StatusNotFound,
		"/auth/login?provider=github&callback_ui=//evil.example":             http.StatusBadRequest,
		"/auth/login?provider=github&callback_ui=https%3A%2F%2Fevil.example": http.StatusBadRequest,
	} {
		if answer := (wish{method: "GET", url: node + path}).ask(t); answer.status != status || len(answer.cookies) != 0 && answer.cookies[0].MaxAge >= 0 {
			t.Errorf("%s: %d %s, cookies %v; want %d", path, answer.status, answer.body, answer.cookies, status)
		}
	}
	wish{method: "POST", url: node + "/zot/auth/login?provider=github"}.must(t, http.StatusMethodNotAllowed)
	for _, back := range []string{"/home", node + "/home", "http://localhost:3000/", "https://pages.example/a"} {
		answer := (&browser{cookies: map[string]*http.Cookie{}}).visit(t, "GET", node+"/auth/login?provider=github&callback_ui="+url.QueryEscape(back))
		if answer.status != http.StatusFound || !strings.HasPrefix(answer.header.Get("Location"), "https://github.com/login/oauth/authorize?") || answer.header.Get("Cache-Control") != "no-store" {
			t.Errorf("back to %s: %d %s", back, answer.status, answer.body)
		}
	}
	shown := wish{method: "GET", url: node + "/v2/_zot/ext/mgmt"}.must(t, http.StatusOK).body
	if want := `"auth":{"openid":{"providers":{"dex":{"name":"Ours"},"github":{}}},"apikey":true}`; !strings.Contains(shown, want) {
		t.Errorf("%s has no %s", shown, want)
	}
	logged(t, "hunter2", "hunter3")
}

// The line of a login says whose it is, and nothing of what the provider has sent along.
func TestLineOfALoginWithAProvider(t *testing.T) {
	t.Parallel()
	_, section := providerOf(t)
	n := startedRecorded(t, configIn(t, shortDir(t), logIn(t.TempDir())+fmt.Sprintf(`, "http": {"port": %q%s}`, freePorts(t, 1)[0], section)))
	b := &browser{cookies: map[string]*http.Cookie{}}
	back := b.begin(t, n.at, "/explore")
	if answer := b.visit(t, "GET", n.at+back); answer.status != http.StatusFound {
		t.Fatalf("%d %s", answer.status, answer.body)
	}
	sent, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the line", func() bool {
		for _, line := range linesIn(t, n.log) {
			path, _ := line["path"].(string)
			if !strings.HasPrefix(path, sent.Path) {
				continue
			}
			if line["username"] != "jane.doe@example.com" || strings.Contains(path, sent.Query().Get("code")) || strings.Contains(path, sent.Query().Get("state")) {
				t.Errorf("%v", line)
			}
			return true
		}
		return false
	})
}
