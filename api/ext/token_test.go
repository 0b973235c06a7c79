package ext_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const service = "/zot/auth/token"

// form is a request as OAuth 2 has it: names and values.
func form(pairs ...string) call {
	values := url.Values{}
	for n := 0; n < len(pairs); n += 2 {
		values.Add(pairs[n], pairs[n+1])
	}
	return call{method: http.MethodPost, path: service, body: values.Encode(), header: []string{"Content-Type: application/x-www-form-urlencoded"}}
}

// token is the answer to one who got one.
func (w *world) token(c call) (answer struct {
	Token, Scope string
	AccessToken  string    `json:"access_token"`
	Refresh      string    `json:"refresh_token"`
	Expires      int       `json:"expires_in"`
	Issued       time.Time `json:"issued_at"`
},
) {
	w.t.Helper()
	got := w.do(c)
	if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil || got.Code != http.StatusOK {
		w.t.Fatalf("%d %s", got.Code, got.Body)
	}
	if answer.Token == "" || answer.Token != answer.AccessToken || answer.Expires != 600 || time.Since(answer.Issued).Abs() > time.Minute || answer.Refresh != "" {
		w.t.Errorf("%+v", answer)
	}
	if got.Header().Get("Cache-Control") != "no-store" {
		w.t.Error("the answer may be kept")
	}
	return answer
}

func TestTokenIsGiven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := struct{ APIKey, UUID string }{}
	if err := json.Unmarshal(w.do(call{method: "POST", path: ours, name: "ann", body: `{"scopes": ["a/*"]}`}).Body.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	const scope = "repository:a/b:pull,push"
	for name, c := range map[string]call{
		"by GET":      {method: "GET", path: service + "?service=r&scope=" + scope + "&scope=repository:c:pull&account=ann&client_id=docker&offline_token=true", name: "ann"},
		"by POST":     form("grant_type", "password", "username", "ann", "password", "of ann", "service", "r", "scope", scope+" repository:c:pull"),
		"by a key":    {method: "GET", path: service + "?scope=" + scope, name: "ann", password: made.APIKey},
		"for a key":   form("grant_type", "refresh_token", "refresh_token", made.APIKey, "scope", scope+" repository:c:pull"),
		"for nothing": {method: "GET", path: service, name: "ann"},
	} {
		answer := w.token(c)
		if want := map[string]string{"by POST": scope + " repository:c:pull", "for a key": scope}[name]; answer.Scope != want {
			t.Errorf("%s: scope %q, want %q", name, answer.Scope, want)
		}
		keyed := strings.HasSuffix(name, "key")
		caller := w.do(call{method: "GET", path: ours, header: []string{"Authorization: Bearer " + answer.Token}})
		if caller.Code != http.StatusForbidden { // known, and no one to make keys
			t.Errorf("%s: %d %s", name, caller.Code, caller.Body)
		}
		if keyed == strings.Contains(answer.Token, "zak_") && keyed {
			t.Errorf("%s: the key is in the token", name)
		}
	}
	before := w.token(form("grant_type", "refresh_token", "refresh_token", made.APIKey)).Token
	if gone := w.do(call{method: "DELETE", path: ours + "?id=" + made.UUID, name: "ann"}); gone.Code != http.StatusOK {
		t.Fatal(gone.Body)
	}
	if caller := w.do(call{method: "GET", path: ours, header: []string{"Authorization: Bearer " + before}}); caller.Code != http.StatusUnauthorized {
		t.Errorf("a token of a key that was revoked: %d", caller.Code)
	}
}

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(call{method: "GET", path: service, name: "ann"}).Token
	for name, test := range map[string]struct {
		call   call
		status int
	}{
		"nobody":              {call{method: "GET", path: service}, 401},
		"a bad password":      {call{method: "GET", path: service, name: "ann", password: "x"}, 401},
		"a bad password, too": {form("grant_type", "password", "username", "ann", "password", "x"), 401},
		"no name":             {form("grant_type", "password", "password", "of "), 401},
		"no such key":         {form("grant_type", "refresh_token", "refresh_token", "zak_0123456789abcdef0123456789abcdef"), 401},
		"a token":             {call{method: "GET", path: service, header: []string{"Authorization: Bearer " + token}}, 401},
		"a token for a key":   {form("grant_type", "refresh_token", "refresh_token", token), 401},
		"another grant":       {form("grant_type", "authorization_code"), 400},
		"no form":             {call{method: "POST", path: service, body: "%"}, 400},
		"a large one":         {call{method: "POST", path: service, body: strings.Repeat("x", 65<<10)}, 413},
		"many scopes":         {call{method: "GET", path: service + "?scope=" + strings.Repeat("a+", 65), name: "ann"}, 400},
		"a long scope":        {call{method: "GET", path: service + "?scope=" + strings.Repeat("a", 513), name: "ann"}, 400},
		"a long service":      {call{method: "GET", path: service + "?service=" + strings.Repeat("a", 513), name: "ann"}, 400},
		"too much at once":    {call{method: "GET", path: service + "?scope=" + strings.Repeat("repository:"+strings.Repeat("a", 400)+":pull+", 60), name: "ann"}, 400},
		"another method":      {call{method: "PUT", path: service, name: "ann"}, 405},
		"another's browser":   {call{method: "POST", path: service, header: []string{"Sec-Fetch-Site: cross-site"}}, 403},
	} {
		answer := w.do(test.call)
		challenge := answer.Header().Get("WWW-Authenticate")
		if answer.Code != test.status || (challenge == `Basic realm="Authorization Required"`) != (test.status == 401) {
			t.Errorf("%s: %d %s, challenge %s, want %d", name, answer.Code, answer.Body, challenge, test.status)
		}
	}
}
