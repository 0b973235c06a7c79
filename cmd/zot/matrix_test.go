package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// How many cells of a policy are asked at once, and how many accounts there are to try bad passwords of.
const (
	matrixWorkers  = 8
	matrixAccounts = 16_384
)

// matrix is three nodes of one policy, and what is there before the cells are asked.
type matrix struct {
	*trio
	t         *testing.T
	policy    matrixPolicy
	clients   map[string]*http.Client // by the name in the certificate that they show; "" for who shows none
	operators []*client               // of the nodes
	leader    int

	expired, revoked, key, scoped madeKey
	live, token, pulling          string            // a session and two tokens of alice
	others                        map[string]string // tokens that others have made

	config, loose, fixed string            // digests, in each repository
	mounted, hidden      string            // digests, in the source
	uploads              map[string]string // that nobody may go on with

	mu     sync.Mutex
	denied []string // tags that nobody may have made
	spelt  map[string]bool
}

// cell is one request of somebody about a repository, to one of the nodes. All that it changes is its own.
type cell struct {
	*matrix
	node       int
	identity   matrixIdentity
	request    matrixRequest
	repository string // "" if the request is about none
	number     int
	tag        string

	want           int
	granted        bool
	user, password string
}

func (r matrixRequest) String() string {
	name := r.method + " " + strings.TrimPrefix(r.endpoint, "endpoint")
	if r.what != "" {
		name += ", " + r.what
	}
	return name
}

// TestAccessMatrix asks everything, as everybody, of each of three nodes, under each policy.
func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	lines := []string{}
	for _, name := range matrixPeople()[1:] {
		lines = append(lines, strings.TrimSpace(htpasswdLine(t, name)))
	}
	_, hash, _ := strings.Cut(htpasswdLine(t, "w"), ":")
	for n := range matrixAccounts {
		lines = append(lines, fmt.Sprintf("w%d:%s", n, strings.TrimSpace(hash)))
	}
	put(t, passwords, append(lines, "")...)
	for _, p := range matrixPolicies() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			m := newMatrix(t, p, passwords)
			m.askAll()
			m.knowsMethods()
			m.isIntact()
			m.isSpelt()
		})
	}
}

// newMatrix starts three nodes and puts there what the cells need.
func newMatrix(t *testing.T, p matrixPolicy, passwords string) *matrix {
	t.Helper()
	m := &matrix{t: t, policy: p, clients: map[string]*http.Client{}, uploads: map[string]string{}, spelt: map[string]bool{}}
	plain := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(plain.CloseIdleConnections)
	m.clients[""] = m.keeping(plain)
	m.trio = threeLike(t, m.section(passwords), `, "trustedProxies": ["127.0.0.1"]`, `, "extensions": {"search": {}, "trust": {"cosign": true, "notation": true}}`)
	if matrixWays()[p.way].shows {
		for n, at := range m.at {
			m.at[n] = "https" + strings.TrimPrefix(at, "http")
		}
	}
	for _, file := range m.files {
		o, err := newClient(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(o.http.CloseIdleConnections)
		m.operators = append(m.operators, o)
	}
	eventually(t, "somebody leads", func() bool {
		m.leader = slices.Index([]string{"n0", "n1", "n2"}, asked(t, m.files[0]).Leader)
		return m.leader >= 0
	})
	m.fill()
	m.letIn()
	return m
}

// keeping has a client keep its connections, and follow nobody.
func (*matrix) keeping(c *http.Client) *http.Client {
	c.Transport.(*http.Transport).MaxIdleConnsPerHost = 2 * matrixWorkers //nolint:forcetypeassert // it is made with one
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// fill pushes what the cells find.
func (m *matrix) fill() {
	c := &cell{matrix: m}
	m.config, m.loose, m.fixed = digestOf([]byte("config")), digestOf([]byte("loose")), digestOf([]byte(c.image("fixed")))
	for _, repository := range append([]string{m.policy.source}, m.policy.repositories...) {
		c.blob(repository, "config")
		c.blob(repository, "loose")
		m.operate(0, http.MethodPut, "/v2/"+repository+"/manifests/"+m.fixed+"?tag=fixed&tag=fixed-too", c.image("fixed"), http.StatusCreated)
		m.uploads[repository] = c.begin(0, repository, "nobody's")
	}
	m.mounted, m.hidden = c.blob(m.policy.source, "mounted"), c.blob(m.policy.source, "hidden")
	if m.t.Failed() {
		m.t.FailNow()
	}
}

// letIn gets the credentials that the identities have.
func (m *matrix) letIn() {
	t := m.t
	if !m.policy.logins {
		for _, k := range []*madeKey{&m.expired, &m.revoked, &m.key, &m.scoped} {
			*k = madeKey{"00000000-0000-4000-8000-000000000000", "zak_00000000000000000000000000000000"}
		}
		m.live, m.token, m.pulling = strings.Repeat("A", 43), "e30.e30.e30", "e30.e30.e30"
		return
	}
	if way := matrixWays()[m.policy.way]; way.shows {
		m.key, m.revoked = m.newKey(0), m.newKey(1)
		m.revoke(2, m.revoked)
		return
	} else if !way.passwords {
		return
	}
	m.expired, _ = briefAPIKey(t, m.at[0], time.Second)
	m.revoked = newAPIKey(t, m.at[1], "{}")
	wish{method: "DELETE", url: m.at[2] + "/zot/auth/apikey?id=" + m.revoked.UUID, name: "alice", password: "alice"}.must(t, 200)
	m.key = newAPIKey(t, m.at[2], "{}")
	m.scoped = newAPIKey(t, m.at[0], fmt.Sprintf(`{"scopes": [%q]}`, m.policy.repositories[0]))
	m.live = sessionAt(t, m.at[1])
	scopes := "registry:catalog:*"
	for _, repository := range append([]string{m.policy.source}, m.policy.repositories...) {
		scopes += "%20repository:" + repository + ":pull,push,delete"
	}
	m.token = tokenAt(t, m.at[2], "alice", scopes)
	m.pulling = tokenAt(t, m.at[0], "alice", "repository:"+m.policy.repositories[0]+":pull")
	eventually(t, "the key is over", func() bool {
		return wish{method: "GET", url: m.at[0] + "/v2/", name: "alice", password: m.expired.APIKey}.ask(t).status == http.StatusUnauthorized
	})
}

// askAll asks the cells.
func (m *matrix) askAll() {
	cells := make(chan *cell)
	var workers sync.WaitGroup
	for range matrixWorkers {
		workers.Go(func() {
			for c := range cells {
				c.ask()
			}
		})
	}
	idle := make(chan struct{})
	go func() { workers.Wait(); close(idle) }() // waited for below
	number := 0
	for node := range m.at {
		for _, request := range matrixRequests() {
			repositories := m.policy.repositories
			if request.needs == nil {
				repositories = []string{""}
			}
			for _, repository := range repositories {
				for _, identity := range matrixWays()[m.policy.way].identities {
					number++
					c := &cell{matrix: m, node: node, identity: identity, request: request, repository: repository, number: number, tag: fmt.Sprint("c", number)}
					select {
					case cells <- c:
					case <-idle: // each has failed the test
						m.t.FailNow()
					}
				}
			}
		}
	}
	close(cells)
	<-idle
	if number > matrixAccounts {
		m.t.Errorf("%d cells are more than there are accounts", number)
	}
	m.t.Logf("%d cells", number)
}

// name is what a cell is called where it is spelt out, and in errors.
func (c *cell) name() string {
	name := c.policy.name + ": " + c.request.String() + " as " + c.identity.name
	if c.repository != "" {
		name += " to " + c.repository
	}
	return name
}

func (c *cell) ask() {
	c.want, c.granted = c.expected()
	if want, spelt := matrixCells()[c.name()]; spelt {
		c.mu.Lock()
		c.spelt[c.name()] = true
		c.mu.Unlock()
		if want != c.want {
			c.t.Errorf("%s: the tables say %d, and it is spelt out as %d", c.name(), c.want, want)
		}
	}
	if c.identity.login != nil {
		c.user, c.password = c.identity.login(c)
	}
	var status int
	var header http.Header
	var body string
	insist(c.t, func() bool { // whether it was done may be unknown, and what was told may be old, so all begins anew
		status, header, body = c.try(c.request.send(c))
		return status == c.want || !(heard{status: status, header: header}).unsettled()
	})
	if status != c.want {
		role := "a follower"
		if c.node == c.leader {
			role = "the leader"
		}
		c.t.Errorf("%s, of %s: %d %s, want %d", c.name(), role, status, body, c.want)
		return
	}
	if c.request.endpoint == "endpointCatalog" && c.request.method == http.MethodGet && status == http.StatusOK {
		c.shows(header, body)
	}
	if c.request.endpoint == "endpointManifest" && c.request.method == http.MethodPut && status >= 400 {
		c.mu.Lock()
		c.denied = append(c.denied, c.tag)
		c.mu.Unlock()
	}
}

// nobody reports whether the cell is asked by nobody in particular.
func (c *cell) nobody() bool {
	return !c.policy.logins && c.identity.certificate == "" || c.identity.person == "" && !c.identity.refused
}

// may are the letters of what the cell's identity may do to a repository.
func (c *cell) may(repository string) string {
	all := c.policy.grants[repository]
	if c.nobody() {
		return all[""]
	}
	within := repository == c.policy.repositories[0]
	switch c.identity.name {
	case "key with scopes":
		if !within {
			return ""
		}
	case "token to pull":
		if !within || !strings.Contains(all["alice"], "r") {
			return ""
		}
		return "r"
	}
	return all[c.identity.person]
}

// enough reports whether letters are what a request needs.
func (r matrixRequest) enough(letters string) bool {
	return slices.ContainsFunc(r.needs, func(need string) bool {
		return !strings.ContainsFunc(need, func(letter rune) bool { return !strings.ContainsRune(letters, letter) })
	})
}

// tokenFor reports whether somebody with these letters is told to get another token for a request. Whether a push creates or
// updates, neither its client knows nor the token that it is to get.
func (r matrixRequest) tokenFor(letters string) bool {
	return r.enough(letters) || r.endpoint == "endpointManifest" && r.method == http.MethodPut && strings.ContainsAny(letters, "cu")
}

// expected is the status that the tables say, and whether the request is granted.
func (c *cell) expected() (status int, granted bool) {
	r := c.request
	switch {
	case r.admin != "":
		return c.asAdministrator()
	case !c.policy.logins && r.silent != 0 && (r.needs == nil || c.nobody()):
		return r.silent, r.silent < 400
	case c.policy.openid && r.provided != 0:
		return r.provided, r.provided < 400
	case c.policy.logins && c.nobody() && c.policy.opens() && r.open != 0:
		return r.open, r.open < 400
	case r.needs == nil:
		return r.want[c.identity.name], r.want[c.identity.name] < 400
	case c.policy.logins && c.identity.refused:
		return 401, false
	}
	may := c.may(c.repository)
	switch {
	case !r.enough(may) && !c.policy.logins: // there is nothing to log in with
		return 403, false
	case !r.enough(may) && (c.nobody() || c.identity.foreign): // another token may be for more
		return 401, false
	case !r.enough(may) && c.identity.name == "token to pull" && r.tokenFor(c.policy.grants[c.repository]["alice"]):
		return 401, false
	case !r.enough(may):
		return 403, false
	case strings.HasPrefix(r.what, "mount") && !strings.Contains(c.may(c.policy.source), "r"): // it becomes an upload
		return 202, true
	case r.what == "digest of two tags" && strings.Contains(may, "!"):
		return 409, true
	}
	return r.ok, true
}

// asAdministrator is expected of a request that is for administrators.
func (c *cell) asAdministrator() (status int, granted bool) {
	letters := c.policy.admins[c.identity.person]
	switch {
	case c.policy.logins && c.identity.refused, c.policy.logins && c.nobody():
		return 401, false
	case slices.Contains([]string{"token", "token to pull", "key with scopes"}, c.identity.name) && c.policy.logins, c.identity.foreign: // they are for some repositories
		return 403, false
	case c.policy.admins != nil && (c.nobody() || !strings.Contains(letters, c.request.admin)):
		return 403, false
	}
	return c.request.ok, true
}

// send sends a request to the cell's node, as its identity, once there is a quorum.
func (c *cell) send(s sending) (status int, header http.Header, body string) {
	insist(c.t, func() bool {
		status, header, body = c.try(s)
		return status != http.StatusServiceUnavailable
	})
	return status, header, body
}

// try is send, once.
func (c *cell) try(s sending) (status int, header http.Header, body string) {
	text := s.body
	if s.form != nil {
		text, s.contentType = s.form.Encode(), "application/x-www-form-urlencoded"
	}
	r, err := http.NewRequestWithContext(c.t.Context(), c.request.method, c.at[c.node]+s.path, strings.NewReader(text))
	if err != nil {
		c.t.Error(err)
		return 0, nil, ""
	}
	if s.contentType != "" {
		r.Header.Set("Content-Type", s.contentType)
	}
	for name, value := range s.header {
		r.Header.Set(name, value)
	}
	if c.identity.header != nil {
		for name, value := range c.identity.header(c) {
			r.Header.Set(name, value)
		}
	}
	if c.user != "" && s.form == nil {
		r.SetBasicAuth(c.user, c.password)
	}
	return c.do(c.clients[c.identity.certificate], r)
}

// do returns an answer, status 0 if there is none.
func (m *matrix) do(client *http.Client, r *http.Request) (status int, header http.Header, body string) {
	answer, err := client.Do(r)
	if err != nil {
		m.t.Error(err)
		return 0, nil, ""
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	var text bytes.Buffer
	if _, err := io.Copy(&text, answer.Body); err != nil {
		m.t.Error(err)
	}
	return answer.StatusCode, answer.Header, text.String()
}

// operate asks as the operator of a node, who may do everything.
func (m *matrix) operate(node int, method, path, body string, want int) http.Header {
	r, err := http.NewRequestWithContext(m.t.Context(), method, "http://zot"+path, strings.NewReader(body))
	if err != nil {
		m.t.Error(err)
		return http.Header{}
	}
	r.Header.Set("Content-Type", typeImage)
	var status int
	var header http.Header
	var text string
	insist(m.t, func() bool {
		r.Body = io.NopCloser(strings.NewReader(body))
		status, header, text = m.do(m.operators[node].http, r)
		return status != http.StatusServiceUnavailable
	})
	if status != want {
		m.t.Errorf("the operator's %s %s: %d %s, want %d", method, path, status, text, want)
	}
	return header
}

// elsewhere is another node than the cell's.
func (c *cell) elsewhere() int { return (c.node + 1) % len(c.at) }

// in is the path of something in the cell's repository.
func (c *cell) in(path string) string { return "/v2/" + c.repository + "/" + path }

// image is the manifest of an image of a kind.
func (c *cell) image(kind string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/x","digest":%q,"size":6},"layers":[],"annotations":{"kind":%q}}`,
		typeImage, digestOf([]byte("config")), kind)
}

// manifest puts an image by a tag, or by its digest, and by more tags.
func (c *cell) manifest(content, tag string, more ...string) sending {
	if tag == "" {
		tag = digestOf([]byte(content))
	}
	return sending{path: c.in("manifests/"+tag) + "?" + url.Values{"tag": more}.Encode(), contentType: typeImage, body: content}
}

// blob pushes one, and returns its digest.
func (c *cell) blob(repository, content string) string {
	d := digestOf([]byte(content))
	c.operate(c.elsewhere(), http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+d, content, http.StatusCreated)
	return d
}

// newKey has alice make an API key at a node, by her certificate.
func (m *matrix) newKey(node int) (k madeKey) {
	alice := &cell{matrix: m, node: node, identity: certified()[0], request: matrixRequest{method: http.MethodPost}}
	status, _, body := alice.send(sending{path: "/zot/auth/apikey", body: "{}"})
	if err := json.Unmarshal([]byte(body), &k); err != nil || status != http.StatusCreated {
		m.t.Fatalf("a key: %d %s", status, body)
	}
	return k
}

// revoke has her revoke one.
func (m *matrix) revoke(node int, k madeKey) {
	alice := &cell{matrix: m, node: node, identity: certified()[0], request: matrixRequest{method: http.MethodDelete}}
	if status, _, body := alice.send(sending{path: "/zot/auth/apikey?id=" + k.UUID}); status != http.StatusOK {
		m.t.Fatalf("a key is not revoked: %d %s", status, body)
	}
}

// existing is a tag that the cell may have changed.
func (c *cell) existing() string {
	if !c.granted {
		return "fixed"
	}
	c.operate(c.elsewhere(), http.MethodPut, "/v2/"+c.repository+"/manifests/"+c.tag, c.image("fixed"), http.StatusCreated)
	return c.tag
}

// pushed is the digest of an image that the cell may delete, with its tags.
func (c *cell) pushed(kind string, tags ...string) string {
	if !c.granted {
		return c.fixed
	}
	content := c.image(kind + " " + c.tag)
	d := digestOf([]byte(content))
	c.operate(c.elsewhere(), http.MethodPut, "/v2/"+c.repository+"/manifests/"+d+"?"+url.Values{"tag": tags}.Encode(), content, http.StatusCreated)
	return d
}

// mountable is a blob of the source. What somebody has mounted is elsewhere, too, so those who may not have another one.
func (c *cell) mountable() string {
	if c.want == http.StatusCreated {
		return c.mounted
	}
	return c.hidden
}

// begin begins an upload, whose owner is that node.
func (c *cell) begin(node int, repository, content string) string {
	at := c.operate(node, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", http.StatusAccepted).Get("Location")
	return c.operate(node, http.MethodPatch, at, content, http.StatusAccepted).Get("Location")
}

// upload is an upload whose owner is another node.
func (c *cell) upload() string {
	if !c.granted {
		return c.uploads[c.repository]
	}
	return c.begin(c.elsewhere(), c.repository, "begun "+c.tag)
}

// revocable is an API key of the cell's own, or one that it cannot revoke.
func (c *cell) revocable(path string) string {
	if !c.granted {
		return c.key.UUID
	}
	maker := *c
	maker.node, maker.request.method = c.elsewhere(), http.MethodPost
	status, _, body := maker.send(sending{path: path, body: "{}"})
	var k madeKey
	if err := json.Unmarshal([]byte(body), &k); err != nil || status != http.StatusCreated {
		c.t.Errorf("%s: a key to revoke: %d %s", c.name(), status, body)
	}
	return k.UUID
}

// session is the one that all have, but for who ends theirs.
func (c *cell) session() string {
	if !c.policy.logins || !strings.HasSuffix(c.request.endpoint, "/logout") {
		return c.live
	}
	return sessionAt(c.t, c.at[c.elsewhere()])
}

// shows sees to it that a catalog has what the cell's identity may read, page by page.
func (c *cell) shows(header http.Header, body string) {
	var want, have []string
	for _, repository := range append([]string{c.policy.source}, c.policy.repositories...) {
		if c.identity.lists || strings.Contains(c.may(repository), "r") {
			want = append(want, repository)
		}
	}
	slices.Sort(want)
	for pages := 0; ; pages++ {
		var page struct{ Repositories []string }
		if err := json.Unmarshal([]byte(body), &page); err != nil || pages > 10 {
			c.t.Errorf("%s: page %d, %s: %v", c.name(), pages, body, err)
			return
		}
		have = append(have, page.Repositories...)
		next, _, more := strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">")
		if !more {
			break
		}
		_, header, body = c.send(sending{path: next})
	}
	if !slices.Equal(have, want) {
		c.t.Errorf("%s: %q, want %q", c.name(), have, want)
	}
}

// knowsMethods sees to it that what a path of an extension takes is what the matrix asks of it.
func (m *matrix) knowsMethods() {
	asked := map[string][]string{}
	for _, r := range matrixRequests() {
		if !slices.Contains(asked[r.endpoint], r.method) {
			asked[r.endpoint] = append(asked[r.endpoint], r.method)
		}
	}
	for path, methods := range asked {
		answer := wish{method: "BREW", url: m.at[0] + path, name: "alice", password: "alice"}
		if strings.HasPrefix(path, "endpoint") || !m.policy.logins || m.policy.way != "" {
			continue // what cannot be asked for has no methods
		}
		slices.Sort(methods)
		if have := answer.must(m.t, http.StatusMethodNotAllowed).header.Get("Allow"); have != strings.Join(methods, ", ") {
			m.t.Errorf("%s takes %s, and the matrix has %v", path, have, methods)
		}
	}
}

// isIntact sees to it that nobody has changed what they may not.
func (m *matrix) isIntact() {
	for _, repository := range append([]string{m.policy.source}, m.policy.repositories...) {
		for _, tag := range []string{"fixed", "fixed-too"} {
			if d := m.operate(0, http.MethodHead, "/v2/"+repository+"/manifests/"+tag, "", http.StatusOK).Get("Docker-Content-Digest"); d != m.fixed {
				m.t.Errorf("%s:%s is %s now", repository, tag, d)
			}
		}
		m.operate(1, http.MethodHead, "/v2/"+repository+"/blobs/"+m.loose, "", http.StatusOK)
		if at := m.operate(2, http.MethodGet, m.uploads[repository], "", http.StatusNoContent).Get("Range"); at != "0-7" {
			m.t.Errorf("an upload to %s is at %s now", repository, at)
		}
		r, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, "http://zot/v2/"+repository+"/tags/list?n=10000", http.NoBody)
		if err != nil {
			m.t.Fatal(err)
		}
		_, _, list := m.do(m.operators[0].http, r)
		for _, tag := range m.denied {
			if strings.Contains(list, `"`+tag+`"`) || strings.Contains(list, `"`+tag+`-new"`) {
				m.t.Errorf("%s has the tag %s, which was refused", repository, tag)
			}
		}
	}
	if matrixWays()[m.policy.way].keys && m.policy.logins {
		c := &cell{matrix: m, user: "alice", password: m.key.APIKey, request: matrixRequest{method: http.MethodGet}}
		if matrixWays()[m.policy.way].shows {
			c.identity.certificate = "alice"
		}
		if status, _, body := c.send(sending{path: "/v2/"}); status != http.StatusOK {
			m.t.Errorf("alice's key: %d %s", status, body)
		}
	}
}

// isSpelt sees to it that all cells of the policy which are spelt out have been asked.
func (m *matrix) isSpelt() {
	for name := range matrixCells() {
		if strings.HasPrefix(name, m.policy.name+": ") && !m.spelt[name] {
			m.t.Errorf("there is no cell %q", name)
		}
	}
}
