package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// nothing is the digest of no bytes.
const nothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// credential is one way to say that one is alice.
type credential struct {
	what           string
	name, password string
	header         []string
	secret         string // which no log may have
	revoke         wish   // without its node
}

// pull is a GET with it.
func (c credential) pull(url string) wish {
	return wish{method: http.MethodGet, url: url, name: c.name, password: c.password, header: c.header}
}

// newCredentials logs alice in at a node in every way that can be revoked: by a session, an API key, and a token of that key.
func newCredentials(t *testing.T, node string) []credential {
	t.Helper()
	k, session := newAPIKey(t, node, "{}"), sessionAt(t, node)
	token := tokenAt(t, node, k.APIKey, "repository:team/app:pull,push")
	pages := []string{"X-ZOT-API-CLIENT: zot-ui", "Cookie: session=" + session}
	revoke := wish{method: "DELETE", url: "/zot/auth/apikey?id=" + k.UUID, name: "alice", password: "alice"}
	return []credential{
		{what: "session", header: pages, secret: session, revoke: wish{method: "POST", url: "/zot/auth/logout", header: pages}},
		{what: "API key", name: "alice", password: k.APIKey, secret: k.APIKey, revoke: revoke},
		{what: "token of an API key", header: []string{"Authorization: Bearer " + token}, secret: token, revoke: revoke},
	}
}

// holds sees to it that each credential is good, or none any more, at a node.
func holds(t *testing.T, node string, all []credential, good bool) {
	t.Helper()
	for _, c := range all {
		want := http.StatusOK
		if !good {
			want = http.StatusUnauthorized
		}
		pull := c.pull(node + "/v2/team/app/blobs/" + nothing)
		answer := pull.ask(t)
		// A token of a key is judged by what the node has applied, which may be the round before; and a busy machine may have
		// elections.
		if old := c.what == "token of an API key" && !good && answer.status == http.StatusOK; old || answer.status != want && answer.unsettled() {
			eventually(t, c.what+" is known for what it is", func() bool { answer = pull.ask(t); return answer.status == want })
		}
		if answer.status != want {
			t.Errorf("%s at %s: %d %s, want %d", c.what, node, answer.status, answer.body, want)
		}
	}
}

// Whoever logs in at a node is known to all others when that is killed a moment later, and whoever is revoked at another is
// let in by none, whichever of them die; as when all are killed and started anew.
func TestLoginsWhileNodesAreKilled(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	all := threeNodesWith(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "apikey": true}`, passwords))
	restart(all)
	at := func(p *process) string { return "http://127.0.0.1:" + p.port }
	wish{method: "POST", url: at(all[0]) + "/v2/team/app/blobs/uploads/?digest=" + nothing, name: "alice", password: "alice"}.must(t, 201)

	var good, revoked []credential
	for _, leads := range []bool{true, false} {
		leader, others := named(all, all[0].whole().Leader)
		victim, first, second := leader, others[0], others[1]
		if !leads {
			victim, first, second = others[0], others[1], leader
		}
		stay, goes, early := newCredentials(t, at(victim)), newCredentials(t, at(victim)), newCredentials(t, at(first))
		for _, p := range all { // at once
			holds(t, at(p), stay, true)
		}
		early[0].revoke.on(at(second)).must(t, 200)
		early[1].revoke.on(at(second)).must(t, 200)
		late := newCredentials(t, at(victim))
		victim.end(syscall.SIGKILL)
		for _, p := range []*process{first, second} {
			p.ready("/readyz?for=write")
			holds(t, at(p), late, true)
			holds(t, at(p), early, false)
		}
		goes[0].revoke.on(at(second)).must(t, 200)
		goes[1].revoke.on(at(second)).must(t, 200)
		for _, p := range []*process{first, second} {
			holds(t, at(p), goes, false)
			holds(t, at(p), stay, true)
		}
		victim.start() // which has not heard of it
		victim.ready("/readyz?for=write")
		holds(t, at(victim), goes, false)
		holds(t, at(victim), early, false)
		holds(t, at(victim), append(stay, late...), true)
		good, revoked = append(good, append(stay, late...)...), append(revoked, append(goes, early...)...)
	}
	killAll(all)
	restart(all)
	for _, p := range all {
		holds(t, at(p), good, true)
		holds(t, at(p), revoked, false)
	}
	aloneInTheDark(t, all, good, revoked)
	for _, p := range all {
		for _, c := range append(good, revoked...) {
			if strings.Contains(p.out.String(), c.secret) {
				t.Errorf("the log of %s has a %s", p.name, c.what)
			}
		}
	}
}

// on is the wish of a node.
func (w wish) on(node string) wish {
	w.url = node + w.url
	return w
}

// aloneInTheDark kills two of three nodes. The last one serves pulls alone, to those whom it knows, and says that it may be
// behind.
func aloneInTheDark(t *testing.T, all []*process, good, revoked []credential) {
	t.Helper()
	node := "http://127.0.0.1:" + all[0].port
	blob := node + "/v2/team/app/blobs/" + nothing
	type dated struct {
		expires time.Time
		made    []credential
	}
	var keys []dated // one of them will do, however slow the machine is
	for _, seconds := range []time.Duration{8, 20, 50} {
		k, expires := briefAPIKey(t, node, seconds*time.Second)
		keys = append(keys, dated{expires, []credential{
			{what: "API key", name: "alice", password: k.APIKey},
			{what: "token of an API key", header: []string{"Authorization: Bearer " + tokenAt(t, node, k.APIKey, "repository:team/app:pull")}},
		}})
	}
	own := tokenAt(t, node, "alice", "repository:team/app:pull,push,delete")
	killAll(all[1:])
	eventually(t, "there is no quorum", func() bool {
		answer := wish{method: "HEAD", url: blob, header: []string{"Authorization: Bearer " + tokenFor(keys[2].made)}}.ask(t)
		return answer.header.Get("X-Zot-Consistency") == "stale"
	})

	known := append([]credential{
		{what: "password", name: "alice", password: "alice"}, {what: "token", header: []string{"Authorization: Bearer " + own}},
	}, good...)
	for _, c := range known {
		answer := c.pull(blob).ask(t)
		if answer.status != http.StatusOK || answer.header.Get("X-Zot-Consistency") != "stale" {
			t.Errorf("a pull with a %s: %d, %q", c.what, answer.status, answer.header.Get("X-Zot-Consistency"))
		}
	}
	unknown := []credential{
		{what: "unknown API key", name: "alice", password: auth.NewKey()},
		{what: "unknown session", header: []string{"X-ZOT-API-CLIENT: zot-ui", "Cookie: session=" + strings.Repeat("A", 43)}},
	}
	for _, c := range append(unknown, revoked...) {
		want := http.StatusServiceUnavailable // it may be known elsewhere
		if c.what == "token of an API key" {
			want = http.StatusUnauthorized // it was known here, and is not any more
		}
		if answer := c.pull(blob).must(t, want); want == http.StatusServiceUnavailable && answer.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", c.what)
		}
	}
	wish{method: "GET", url: blob, name: "alice", password: "wrong"}.must(t, http.StatusUnauthorized)
	wish{method: "GET", url: blob}.must(t, http.StatusUnauthorized)

	seen := false
	for _, k := range keys {
		for _, c := range k.made {
			if answer := c.pull(blob).ask(t); answer.status == http.StatusOK {
				seen = true
			} else if time.Now().Before(k.expires) {
				t.Errorf("%s before its date: %d %s", c.what, answer.status, answer.body)
			}
		}
		eventually(t, "its date has come", func() bool { return time.Now().After(k.expires) })
		for _, c := range k.made {
			c.pull(blob).must(t, http.StatusUnauthorized)
		}
		if seen {
			break
		}
	}
	if !seen {
		t.Error("all dates had come before they were looked at")
	}

	writes := []wish{
		{method: "POST", url: node + "/v2/team/app/blobs/uploads/"},
		{method: "POST", url: node + "/v2/team/app/blobs/uploads/?digest=" + nothing},
		{method: "PUT", url: node + "/v2/team/app/manifests/1", header: []string{"Content-Type: " + typeImage}, body: `{"schemaVersion":2,"config":{"mediaType":"application/x","digest":"` + nothing + `","size":0},"layers":[]}`},
		{method: "DELETE", url: node + "/v2/team/app/blobs/" + nothing},
		{method: "POST", url: node + "/zot/auth/apikey", body: "{}"},
		{method: "DELETE", url: node + "/zot/auth/apikey?id=00000000-0000-4000-8000-000000000000"},
	}
	for n := range writes {
		writes[n].name, writes[n].password = "alice", "alice"
	}
	var asked sync.WaitGroup // each waits for a leader, though not for as long as a proposal may take: for want of time it would say no more than that there is no leader
	for _, w := range append(writes, good[0].revoke.on(node)) {
		asked.Go(func() {
			answer := w.ask(t)
			if answer.status != http.StatusServiceUnavailable || answer.header.Get("Retry-After") == "" || !strings.Contains(answer.body, "no quorum: ") {
				t.Errorf("%s %s: %d %s", w.method, w.url, answer.status, answer.body)
			}
		})
	}
	asked.Wait()

	// A password is good, though no session comes of it.
	answer := wish{method: "GET", url: blob, name: "alice", password: "alice", header: []string{"X-ZOT-API-CLIENT: zot-ui"}}.must(t, http.StatusOK)
	if len(answer.cookies) > 0 {
		t.Errorf("cookies: %v", answer.cookies)
	}
}

// tokenFor is the token among credentials.
func tokenFor(all []credential) string {
	_, token, _ := strings.Cut(all[1].header[0], "Bearer ")
	return token
}

// refusing is a proposer that nobody is to ask.
type refusing struct{ t *testing.T }

// Propose fails the test.
func (r refusing) Propose(context.Context, []byte) (entry.Result, error) {
	r.t.Error("it was proposed")
	return entry.Result{}, errors.New("no leader")
}

// Whoever gives a password with a pull does not wait for a session that nobody can record.
func TestNoSessionBeginsInTheDark(t *testing.T) {
	t.Parallel()
	a := newAlone(t)
	p, err := newPeople(a.State, dark{}, refusing{t}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Begin(t.Context(), strings.Repeat("c", 43), auth.Login{Name: "alice"}, time.Now().Add(time.Hour)); err == nil {
		t.Error("it has begun")
	}
}

// dark is a consistency without a quorum.
type dark struct{}

func (dark) Read(context.Context) (bool, error) { return true, nil }
func (dark) ReadIndex(context.Context) error    { return errors.New("no quorum") }
func (dark) NoQuorum() bool                     { return true }

// What is over is over also for a node that nobody can tell so, by its own clock.
func TestLoginsEndInTheDark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAlone(t)
		p, err := newPeople(a.State, dark{}, a, false)
		if err != nil {
			t.Fatal(err)
		}
		day := time.Now().Add(24 * time.Hour)
		cookie, secret := strings.Repeat("c", 43), auth.NewKey()
		a.do(t, fsm.PutSession{Cookie: fsm.HashSecret(cookie), Subject: "alice", Expires: day.UnixMilli()})
		k, err := fsm.Do(t.Context(), a, fsm.CreateAPIKey{Hash: fsm.HashAPIKey(secret), ID: fsm.KeyID{1}, Owner: "alice", Expires: day.UnixMilli()})
		if err != nil {
			t.Fatal(err)
		}
		wants := func(want error) {
			t.Helper()
			_, of := p.Session(t.Context(), cookie)
			_, byKey := p.Key(t.Context(), secret)
			_, byToken := p.KeyOf(t.Context(), "alice", fmt.Sprintf("%x", k.ID))
			for what, err := range map[string]error{"session": of, "API key": byKey, "token of an API key": byToken} {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
		}
		wants(nil)
		time.Sleep(24*time.Hour - time.Millisecond)
		wants(nil)
		time.Sleep(time.Millisecond)
		wants(auth.ErrUnknown)
		if _, err := p.Session(t.Context(), strings.Repeat("d", 43)); err == nil || errors.Is(err, auth.ErrUnknown) {
			t.Errorf("a session that is not known here: %v", err)
		}
	})
}
