package ext_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/api/ext"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/token"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// world is extensions over a state that is the whole cluster: what is proposed is the next entry.
type world struct {
	http.Handler
	t        *testing.T
	state    *fsm.State
	sequence uint64
	refusing error // what a proposal gives that is not applied
	stale    bool
}

var errNoQuorum = errors.New("no quorum")

func (w *world) Read(context.Context) (bool, error) { return w.stale, nil }

func (w *world) ReadIndex(context.Context) error {
	if w.stale {
		return errNoQuorum
	}
	return nil
}

func (w *world) NoQuorum() bool { return w.stale }

func (w *world) Once() fsm.Proposer { return w }

func (w *world) Propose(_ context.Context, payload []byte) (entry.Result, error) {
	if w.refusing != nil {
		return entry.Result{}, w.refusing
	}
	if err := w.state.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	w.sequence++
	at := w.state.Position()
	return w.state.Apply([]entry.Entry{{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{
			Request: entry.RequestID{Incarnation: entry.Incarnation{1}, Random: 1, Sequence: w.sequence, FirstTry: at.Time},
			Term:    1, Time: at.Time.Add(time.Millisecond), Date: time.Now().UnixMilli(),
		},
	}})[0], nil
}

// Store and Route are those of a registry without stores.
func (w *world) Store(string) (api.Store, bool) { return api.Store{}, false }

func (w *world) Route(string) string { return fsm.DefaultStore }

// Verify lets everybody in whose password is "of " and the name.
func (w *world) Verify(_ context.Context, name, password string) ([]string, error) {
	if password != "of "+name {
		return nil, auth.ErrWrong
	}
	if name == "everywhere" { // as directories have it
		return slices.Repeat([]string{"cn=a group of many,ou=Groups,dc=example,dc=org"}, 1000), nil
	}
	return []string{"devs"}, nil
}

// Key is as the state says.
func (w *world) Key(_ context.Context, secret string) (key auth.Key, err error) {
	err = w.state.View(func(v fsm.View) error {
		k, known := v.APIKey(fsm.HashAPIKey(secret))
		if !known {
			return auth.ErrUnknown
		}
		key = keyOf(k)
		return nil
	})
	return key, err
}

// KeyOf is as the state says.
func (w *world) KeyOf(_ context.Context, owner, id string) (key auth.Key, err error) {
	err = w.state.View(func(v fsm.View) error {
		for _, k := range v.APIKeys(owner) {
			if key = keyOf(k); key.ID == id {
				return nil
			}
		}
		return auth.ErrUnknown
	})
	return key, err
}

func keyOf(k fsm.APIKey) auth.Key {
	return auth.Key{Owner: k.Owner, ID: hex.EncodeToString(k.ID[:]), Groups: k.Groups, Scopes: k.Scopes}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, func(*auth.Config) {})
}

// newWorldWith is newWorld, and more of who may log in.
func newWorldWith(t *testing.T, more func(c *auth.Config)) *world {
	t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir(), Incarnation: entry.Incarnation{1}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = state.Close() })
	w := &world{t: t, state: state}
	c := api.DefaultConfig()
	c.UploadKeys = [][]byte{[]byte("a key of tests, long enough")}
	tokens, err := token.New([][]byte{bytes.Repeat([]byte("s"), 32)})
	if err != nil {
		t.Fatal(err)
	}
	who := auth.Config{Methods: []auth.Method{w}, Keys: w, Tokens: tokens}
	more(&who)
	gate := auth.New(who)
	registry, err := api.New(c, api.Deps{Proposer: w, Consistency: w, State: state, Stores: w, Gate: func() *auth.Gate { return gate }})
	if err != nil {
		t.Fatal(err)
	}
	e, err := ext.New(ext.Config{APIKeys: true, Preferences: true, Signatures: []fsm.SigningTool{fsm.Cosign, fsm.Notation}, Mgmt: &ext.Mgmt{DistSpecVersion: "1.1.1", BinaryType: "zot", HTTP: ext.MgmtHTTP{Auth: &ext.MgmtAuth{Htpasswd: &struct{}{}, APIKey: true}}}}, ext.Deps{Registry: registry, Gate: func() *auth.Gate { return gate }, Proposer: w, Consistency: w, State: state})
	if err != nil {
		t.Fatal(err)
	}
	w.Handler = e.Before(http.NotFoundHandler())
	return w
}

// call is one request. Header is lines of "Name: value".
type call struct {
	method, path, name, password, body string

	header []string
}

func (w *world) do(c call) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), c.method, c.path, strings.NewReader(c.body))
	if c.name != "" {
		if c.password == "" {
			c.password = "of " + c.name
		}
		r.SetBasicAuth(c.name, c.password)
	}
	for _, line := range c.header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, r)
	return answer
}

const ours = "/zot/auth/apikey"

func TestAPIKeyIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := time.Now().Truncate(time.Millisecond)
	expires := before.Add(time.Hour).UTC()
	made := w.do(call{
		method: "POST", path: "/v2/_zot/ext/apikey", name: "ann", header: []string{"User-Agent: tests"},
		body: fmt.Sprintf(`{"label": "ci", "scopes": ["team/**"], "expirationDate": %q}`, expires.Format(time.RFC3339Nano)),
	})
	var k map[string]any
	if err := json.Unmarshal(made.Body.Bytes(), &k); err != nil || made.Code != http.StatusCreated {
		t.Fatalf("%d %s", made.Code, made.Body)
	}
	secret, _ := k["apiKey"].(string)
	created, err := time.Parse(time.RFC3339Nano, fmt.Sprint(k["createdAt"]))
	if err != nil || created.Before(before) || created.After(time.Now()) {
		t.Errorf("created %v", k["createdAt"])
	}
	delete(k, "createdAt")
	delete(k, "apiKey")
	id := k["uuid"]
	want := map[string]any{
		"expirationDate": expires.Format(time.RFC3339Nano), "isExpired": false, "creatorUa": "tests", "generatedBy": "manual",
		"lastUsed": "0001-01-01T00:00:00Z", "label": "ci", "scopes": []any{"team/**"}, "uuid": id,
	}
	if fmt.Sprint(k) != fmt.Sprint(want) {
		t.Errorf("made %v, want %v", k, want)
	}
	if made.Header().Get("Cache-Control") != "no-store" {
		t.Error("the answer may be kept")
	}
	if k, err := w.Key(t.Context(), secret); err != nil || k.Owner != "ann" || fmt.Sprint(k.Groups, k.Scopes) != "[devs] [team/**]" {
		t.Errorf("the state has %+v, %v", k, err)
	}
	list := w.do(call{method: "GET", path: ours, name: "ann"})
	if text := list.Body.String(); list.Code != http.StatusOK || strings.Contains(text, "apiKey\"") || !strings.Contains(text, fmt.Sprint(id)) {
		t.Errorf("listed %d %s", list.Code, text)
	}
	w.stale = true
	if list := w.do(call{method: "GET", path: ours, name: "ann"}); list.Header().Get("X-Zot-Consistency") != "stale" {
		t.Error("without a quorum the list is not marked stale")
	}
	w.stale = false
	for _, want := range []int{http.StatusOK, http.StatusNotFound} {
		if gone := w.do(call{method: "DELETE", path: ours + "?id=" + fmt.Sprint(id), name: "ann"}); gone.Code != want {
			t.Errorf("revoked: %d %s", gone.Code, gone.Body)
		}
	}
	if _, err := w.Key(t.Context(), secret); !errors.Is(err, auth.ErrUnknown) {
		t.Errorf("revoked: %v", err)
	}
}

// Whoever is in more groups than a key can have gets one all the same, with those that the rules are about: here none.
func TestAPIKeyOfManyGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.do(call{method: "POST", path: ours, name: "everywhere", body: "{}"})
	var k struct{ APIKey string }
	if err := json.Unmarshal(made.Body.Bytes(), &k); err != nil || made.Code != http.StatusCreated {
		t.Fatalf("%d %s", made.Code, made.Body)
	}
	if k, err := w.Key(t.Context(), k.APIKey); err != nil || k.Owner != "everywhere" || len(k.Groups) != 0 {
		t.Errorf("the state has %+v, %v", k, err)
	}
}

func TestAPIKeyRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := ""
	made := struct{ APIKey string }{}
	if err := json.Unmarshal(w.do(call{method: "POST", path: ours, name: "ann", body: "{}"}).Body.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	if secret = made.APIKey; secret == "" {
		t.Fatal("no key was made")
	}
	post := func(body string) call { return call{method: "POST", path: ours, name: "ann", body: body} }
	for name, test := range map[string]struct {
		call   call
		status int
		text   string
	}{
		"nobody":                {call{method: "GET", path: ours}, 401, "UNAUTHORIZED"},
		"a key makes a key":     {call{method: "POST", path: ours, name: "ann", password: secret, body: "{}"}, 403, "password"},
		"a key lists":           {call{method: "GET", path: ours, name: "ann", password: secret}, 403, "password"},
		"a key revokes":         {call{method: "DELETE", path: ours + "?id=x", name: "ann", password: secret}, 403, "password"},
		"method":                {call{method: "PUT", path: ours, name: "ann"}, 405, "PUT"},
		"no body":               {post(""), 400, "it is empty"},
		"no JSON":               {post("label"), 400, "body"},
		"large":                 {post(`{"label": "` + strings.Repeat("x", 8<<10) + `"}`), 413, "8192"},
		"label of digits":       {post(`{"label": 5}`), 400, "label is of the wrong kind, number; send something like {"},
		"another field":         {post(`{"label": "ci", "scope": ["team/**"]}`), 400, `should be: unknown field \"scope\"; send something like {`},
		"more than one":         {post(`{} {"scopes": ["team/**"]}`), 400, "there is more behind it"},
		"a list":                {post(`[]`), 400, "all of it is of the wrong kind, array; send"},
		"long label":            {post(`{"label": "` + strings.Repeat("x", 1025) + `"}`), 400, "label"},
		"date":                  {post(`{"expirationDate": "tomorrow"}`), 400, "2030"},
		"past":                  {post(`{"expirationDate": "2020-01-01T00:00:00Z"}`), 400, "past"},
		"scope":                 {post(`{"scopes": ["a["]}`), 400, "glob"},
		"empty scope":           {post(`{"scopes": [""]}`), 400, "glob"},
		"alternatives":          {post(`{"scopes": ["{a,b}{a,b}"]}`), 400, "alternatives"},
		"no id":                 {call{method: "DELETE", path: ours, name: "ann"}, 400, "id"},
		"no such id":            {call{method: "DELETE", path: ours + "?id=00000000-0000-4000-8000-000000000000", name: "ann"}, 404, "no such key"},
		"what is no id":         {call{method: "DELETE", path: ours + "?id=%zz;1", name: "ann"}, 400, "id"},
		"another's browser":     {call{method: "POST", path: ours, name: "ann", body: "{}", header: []string{"Sec-Fetch-Site: cross-site"}}, 403, "cross-origin"},
		"another path":          {call{method: "GET", path: ours + "/", name: "ann"}, 404, ""},
		"another path's end":    {call{method: "GET", path: "/v2/_zot/ext/apikey/x", name: "ann"}, 404, ""},
		"a path in other words": {call{method: "GET", path: "/zot/../zot/auth/apikey", name: "ann"}, 404, ""},
	} {
		answer := w.do(test.call)
		if answer.Code != test.status || !strings.Contains(answer.Body.String(), test.text) || strings.Contains(answer.Body.String(), secret) {
			t.Errorf("%s: %d %s, want %d with %q", name, answer.Code, answer.Body, test.status, test.text)
		}
	}
	w.refusing = errNoQuorum
	for _, c := range []call{post("{}"), {method: "DELETE", path: ours + "?id=00000000-0000-4000-8000-000000000000", name: "ann"}} {
		if answer := w.do(c); answer.Code != 503 || answer.Header().Get("Retry-After") == "" {
			t.Errorf("without a quorum: %d %s", answer.Code, answer.Body)
		}
	}
}

func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 1000 {
		if made := w.do(call{method: "POST", path: ours, name: "ann", body: "{}"}); made.Code != 201 {
			t.Fatalf("%d %s", made.Code, made.Body)
		}
	}
	if made := w.do(call{method: "POST", path: ours, name: "ann", body: "{}"}); made.Code != 409 || !strings.Contains(made.Body.String(), "revoke") {
		t.Errorf("%d %s", made.Code, made.Body)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := ext.New(ext.Config{}, ext.Deps{Proposer: w, Consistency: w, State: w.state}); err == nil {
		t.Error("extensions without a registry")
	}
}
