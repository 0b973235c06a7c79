package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// changing is a node in this process whose file changes.
type changing struct {
	t               *testing.T
	file, root, url string
	port, storage   string // storage is the rest of that section
	signals         chan os.Signal
	stop            func() error
}

// newChanging starts it with this in its section "http".
func newChanging(t *testing.T, web string) *changing {
	t.Helper()
	n := &changing{t: t, root: shortDir(t), port: freePorts(t, 1)[0], signals: make(chan os.Signal, 1)}
	n.url = "http://127.0.0.1:" + n.port
	n.file = filepath.Join(t.TempDir(), "config.json")
	n.put(web, "")
	n.stop = ready(t, n.file, n.signals)
	return n
}

// put replaces the file, by rename.
func (n *changing) put(web, more string) {
	n.t.Helper()
	put(n.t, n.file+".new", fmt.Sprintf(`{"storage": {"rootDirectory": %q%s}, "http": {"port": %q%s}%s}`, n.root, n.storage, n.port, web, more))
	if err := os.Rename(n.file+".new", n.file); err != nil {
		n.t.Fatal(err)
	}
}

// log is what the node has logged.
func (n *changing) log() string {
	n.t.Helper()
	b, err := os.ReadFile(n.file + ".log")
	if err != nil {
		n.t.Fatal(err)
	}
	return string(b)
}

// becomes replaces the file and has the node take it in.
func (n *changing) becomes(web, more string) {
	n.t.Helper()
	const words = "configuration changed: keys="
	before := strings.Count(n.log(), words)
	n.put(web, more)
	n.signals <- syscall.SIGHUP
	eventually(n.t, "the node takes in its file", func() bool { return strings.Count(n.log(), words) > before })
}

// wants sends a request as somebody, whose answer must have a status.
func (n *changing) wants(status int, method, path, name, password string) (challenge string) {
	n.t.Helper()
	got := wish{method: method, url: n.url + path, name: name, password: password}.ask(n.t)
	if got.status != status {
		n.t.Errorf("%s %s as %q: %d, want %d", method, path, name, got.status, status)
	}
	return got.header.Get("WWW-Authenticate")
}

const emptyBlob = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Who may come in, and what they may do, from nobody's being asked to that again.
func TestReloadOfLogins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	put(t, first, htpasswdLine(t, "alice")+htpasswdLine(t, "bob"))
	put(t, second, strings.Replace(htpasswdLine(t, "other"), "other:", "alice:", 1))
	n := newChanging(t, "")
	push := "/v2/team/app/blobs/uploads/?digest=" + emptyBlob
	pull := "/v2/team/app/blobs/" + emptyBlob
	n.wants(201, "POST", push, "", "")
	n.wants(404, "GET", "/zot/auth/token", "", "")

	passwords := func(file, more string) string {
		return fmt.Sprintf(`, "realm": "a realm", "auth": {"htpasswd": {"path": %q}%s}`, file, more)
	}
	n.becomes(passwords(first, ""), "")
	if challenge := n.wants(401, "GET", "/v2/", "", ""); !strings.HasPrefix(challenge, `Bearer realm="`+n.url) {
		t.Errorf("challenge %q", challenge)
	}
	if challenge := n.wants(401, "GET", "/v2/", "alice", "bob"); challenge != `Basic realm="a realm"` {
		t.Errorf("challenge %q", challenge)
	}
	n.wants(201, "POST", push, "alice", "alice")
	n.wants(200, "GET", "/zot/auth/token", "alice", "alice")

	rules := `, "accessControl": {"repositories": {"team/**": {"policies": [{"users": ["alice"], "actions": ["read"]}]}}}`
	n.becomes(passwords(first, "")+rules, "")
	n.wants(403, "POST", push, "alice", "alice")
	n.wants(200, "GET", pull, "alice", "alice")
	n.wants(403, "GET", pull, "bob", "bob")

	n.becomes(passwords(second, "")+rules, "")
	n.wants(401, "GET", pull, "alice", "alice") // although it was right a moment ago
	n.wants(401, "GET", pull, "bob", "bob")
	n.wants(200, "GET", pull, "alice", "other")

	keys := passwords(second, `, "apikey": true`)
	n.wants(404, "GET", "/zot/auth/apikey", "alice", "other")
	n.wants(401, "GET", "/v2/_zot/ext/mgmt", "", "")
	n.becomes(keys+rules+`, "externalUrl": "https://registry.example"`, `, "extensions": {"mgmt": {}, "userprefs": {}}`)
	key := wish{method: "POST", url: n.url + "/zot/auth/apikey", name: "alice", password: "other", body: `{}`}.must(t, 201).body
	key = key[strings.Index(key, "zak_"):][:36]
	n.wants(200, "GET", pull, "alice", key)
	n.wants(200, "GET", "/v2/_zot/ext/mgmt", "", "")
	if challenge := n.wants(401, "GET", pull, "", ""); !strings.HasPrefix(challenge, `Bearer realm="https://registry.example/zot/auth/token"`) {
		t.Errorf("challenge %q", challenge)
	}
	n.becomes(passwords(second, "")+rules, "")
	n.wants(401, "GET", pull, "alice", key)
	n.wants(401, "GET", "/v2/_zot/ext/mgmt", "", "")

	n.becomes("", "")
	n.wants(200, "GET", pull, "", "")
	n.wants(201, "POST", push, "", "")
	logged(t, "hunter2", key)
}

// A file that is wrong changes nothing, and the log has all that is wrong with it.
func TestReloadOfAnInvalidFile(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	n := newChanging(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}}`, passwords))
	n.put(`, "auth": {"htpasswd": {"path": "/nowhere"}}, "externalUrl": "ftp://x", "realm": []`, `, "log": {"level": "loud"}, "colour": "red"`)
	n.signals <- syscall.SIGHUP
	for _, words := range []string{"/nowhere", "ftp://x", "http.realm", "loud", "unknown key"} {
		eventually(t, words+" is named", func() bool { return strings.Contains(n.log(), words) })
	}
	n.wants(401, "GET", "/v2/", "", "")
	n.wants(200, "GET", "/v2/", "alice", "alice")
}

// A request ends by what it began with.
func TestReloadWhileARequestIsAnswered(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	n := newChanging(t, "")
	upload := sent(t, http.MethodPost, n.url+"/v2/team/app/blobs/uploads/", "", http.StatusAccepted)
	body := &heldBody{begun: make(chan struct{}), rest: make(chan struct{})}
	answered := make(chan int, 1)
	go func() { // waited for below
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, n.url+upload, body)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		r.Header.Set("Expect", "100-continue") // so the body is asked for by who has let the request in
		once := http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: patience}, Timeout: 2 * patience}
		answer, err := once.Do(r)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		_ = answer.Body.Close() // it is not read
		answered <- answer.StatusCode
	}()
	select {
	case <-body.begun:
	case status := <-answered:
		t.Fatalf("the upload was answered with %d before it was sent", status)
	}
	n.becomes(fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}}`, passwords), "")
	n.wants(401, "GET", "/v2/", "", "")
	close(body.rest)
	if status := <-answered; status != http.StatusAccepted {
		t.Errorf("the upload that was begun before ended with %d", status)
	}
}

// heldBody is a body that comes when a test likes.
type heldBody struct {
	begun, rest chan struct{}
	n           int
}

func (b *heldBody) Read(p []byte) (int, error) {
	if b.n++; b.n > 1 {
		return 0, io.EOF
	}
	close(b.begun)
	<-b.rest
	return copy(p, "all of it"), nil
}

// Jobs begin anew whose part of the configuration changes, and no others.
func TestReloadOfJobs(t *testing.T) {
	t.Parallel()
	n := newChanging(t, "")
	const (
		garbage = "collect garbage of store " + fsm.DefaultStore
		kept    = "retention of store " + fsm.DefaultStore
		pass    = "scrub store " + fsm.DefaultStore
		limits  = "set limits"
	)
	ended := func() map[string]time.Time {
		all := map[string]time.Time{}
		for _, j := range asked(t, n.file).Members[0].Jobs {
			all[j.Name] = j.Ended
		}
		return all
	}
	has := func(when string, want map[string]bool) {
		t.Helper()
		eventually(t, when, func() bool {
			all := ended()
			for name, is := range want {
				if _, has := all[name]; has != is {
					return false
				}
			}
			return true
		})
	}
	eventually(t, "the limits were looked at", func() bool { return !ended()[limits].IsZero() })
	before := ended()[limits]
	has("at the start", map[string]bool{garbage: true, kept: false, pass: true})
	n.becomes("", `, "extensions": {"scrub": {"enable": false}}`)
	has("without scrub", map[string]bool{garbage: true, kept: false, pass: false})
	n.storage = `, "gc": false`
	n.becomes("", "")
	has("without garbage collection", map[string]bool{garbage: false, kept: false, pass: true})
	n.storage = `, "gcInterval": "2h", "retention": {"policies": [{"repositories": ["**"], "keepTags": [{"patterns": ["v.*"]}]}]}`
	n.becomes("", "")
	has("with retention", map[string]bool{garbage: true, kept: true, pass: true})
	if now := ended()[limits]; !now.Equal(before) && now.Sub(before) < storesEvery { // later it was due
		t.Errorf("a job ran again at %s, after %s, for which nothing has changed", now, before)
	}

	push := func(status int, repository string) {
		t.Helper()
		n.wants(status, "POST", "/v2/"+repository+"/blobs/uploads/?digest="+emptyBlob, "", "")
	}
	push(201, "one")
	n.storage = `, "maxRepos": 1`
	n.becomes("", "")
	eventually(t, "the limits were set", func() bool { return strings.Contains(n.log(), "limits of repositories set: max_repositories=1") })
	push(429, "two")
	n.storage = ""
	n.becomes("", `, "cluster": {"quotas": {"two": "1KiB"}}`)
	eventually(t, "the limits were set", func() bool { return strings.Contains(n.log(), "max_repositories=0 quotas=1") })
	push(201, "two")
}

// Logins, and the jobs of this and that, a hundred times over.
func TestReloadOverAndOver(t *testing.T) { //nolint:paralleltest // it looks for goroutines that are left
	defer leavesNothing(t)()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	n := newChanging(t, "")
	both := func() {
		n.becomes(fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "apikey": true}`, passwords), `, "extensions": {"scrub": {"enable": false}}`)
		n.wants(200, "GET", "/v2/", "alice", "alice")
		n.becomes("", "")
		n.wants(200, "GET", "/v2/", "", "")
	}
	both()
	eventually(t, "what was off has begun again", func() bool {
		return slices.ContainsFunc(asked(t, n.file).Members[0].Jobs, func(j jobReport) bool {
			return j.Name == "scrub store "+fsm.DefaultStore && (!j.Running.IsZero() || !j.Ended.IsZero())
		})
	})
	before := runtime.NumGoroutine()
	for range 50 {
		both()
	}
	eventually(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= before })
	if err := n.stop(); err != nil {
		t.Error(err)
	}
}

// Where certificates become the only way in, who has come without one before is out, and other files hold from the next
// connection on.
func TestReloadOfCertificates(t *testing.T) {
	t.Parallel()
	dir, files, others := t.TempDir(), tlsFiles(t), tlsFiles(t)
	passwords, ca := filepath.Join(dir, "htpasswd"), filepath.Join(dir, "ca")
	server, client, next := pair(t, 1), pair(t, 2), pair(t, 3)
	put(t, passwords, htpasswdLine(t, "alice"))
	put(t, ca, client.cert)
	server.in(t, files)
	next.in(t, others)
	web := func(c config.ServerTLS, ca, more string) string {
		return fmt.Sprintf(`, "tls": {"cert": %q, "key": %q, "cacert": %q}%s`, c.Cert, c.Key, ca, more)
	}
	login := fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}}`, passwords)
	n := &changing{t: t, root: shortDir(t), port: freePorts(t, 1)[0], signals: make(chan os.Signal, 1)}
	n.file = filepath.Join(dir, "config.json")
	n.put(web(files, ca, login), "")
	signalled(t, n.file, n.signals)
	at := func(c *http.Client, path, name string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:"+n.port+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if name != "" {
			r.SetBasicAuth(name, name)
		}
		answer, err := c.Do(r)
		if err != nil {
			return 0
		}
		defer answer.Body.Close() //nolint:errcheck // it is only read
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	ask := func(c *http.Client, name string) int { return at(c, "/v2/", name) }
	wants := func(who string, c *http.Client, name string, status int) {
		t.Helper()
		if got := ask(c, name); got != status {
			t.Errorf("%s as %q: %d, want %d", who, name, got, status)
		}
	}
	withOne := func(c *tls.Config) { c.Certificates = []tls.Certificate{client.loaded(t)} }
	old := trusting(t, server, nil)
	eventually(t, "the node answers", func() bool { return ask(old, "alice") == http.StatusOK })

	older := trusting(t, server, nil)
	wants("another", older, "alice", http.StatusOK)

	n.becomes(web(files, ca, ""), "")
	if got := at(old, "/livez", ""); got != http.StatusOK {
		t.Errorf("an old connection without a certificate asks whether the node lives: %d", got)
	}
	wants("an old connection without a certificate", old, "", http.StatusUnauthorized)
	wants("an old connection without a certificate", older, "alice", http.StatusUnauthorized)
	wants("a new one without", trusting(t, server, nil), "", http.StatusUnauthorized)
	wants("a new one without", trusting(t, server, nil), "alice", http.StatusUnauthorized)
	wants("a new one with a certificate", trusting(t, server, withOne), "", http.StatusOK)
	prober := trusting(t, server, nil)
	if got := at(prober, "/livez", ""); got != http.StatusOK {
		t.Errorf("a new one without asks whether the node lives: %d", got)
	}

	n.becomes(web(files, ca, login), "")
	wants("a connection from before passwords were a way in", prober, "alice", http.StatusOK)

	n.becomes(web(others, "", login), "")
	wants("a new one", trusting(t, next, nil), "alice", http.StatusOK)
	wants("a new one", trusting(t, next, nil), "", http.StatusUnauthorized)
	wants("who trusts the old certificate", trusting(t, server, nil), "alice", 0)

	// Without TLS the certificates that a new way in counts on are not there: all of that waits for the restart.
	n.put(fmt.Sprintf(`, "tls": {"cacert": %q}`, ca), "")
	n.signals <- syscall.SIGHUP
	for _, key := range []string{"http.tls", "http.auth.htpasswd"} {
		eventually(t, key+" is named", func() bool { return strings.Contains(n.log(), "only after a restart: key="+key+"\n") })
	}
	wants("a new one", trusting(t, next, nil), "alice", http.StatusOK)
	wants("a new one", trusting(t, next, nil), "", http.StatusUnauthorized)
}

// The level of the log is that of all its parts.
func TestLevelOfEachLogger(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	log, closer, err := openLog(config.Log{Level: "info"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close() //nolint:errcheck // it is a builder of the test
	part := log.Named("auth").With("k", "v").Named("ldap")
	log.SetLevel(levelOf("error"))
	part.Info("one")
	log.SetLevel(levelOf("debug"))
	part.Debug("two")
	if s := out.String(); strings.Contains(s, "one") || !strings.Contains(s, "two") {
		t.Errorf("the log is %s", s)
	}
}
