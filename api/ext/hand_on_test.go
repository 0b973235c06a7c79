package ext_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/api/record"
	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/bearer"
)

// newWorldBehind is a world before another token service, at which ann has the password "of ann". Its tokens are of whom the
// scope says.
func newWorldBehind(t *testing.T, more func(c *auth.Config)) (w *world, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, password, given := r.BasicAuth()
		if r.Method == http.MethodPost {
			password, given = r.PostFormValue("password"), r.PostFormValue("grant_type") == "password"
		}
		w.Header().Set("Www-Authenticate", "Basic realm=theirs")
		switch {
		case r.FormValue("scope") == "nobody's":
			w.WriteHeader(http.StatusUnauthorized)
		case given && password != "of ann":
			w.WriteHeader(http.StatusUnauthorized)
		}
		if name, is := strings.CutPrefix(r.FormValue("scope"), "as "); is {
			_ = json.NewEncoder(w).Encode(map[string]string{"access_token": "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"`+name+`"}`)) + ".c2ln"})
		}
	}))
	t.Cleanup(server.Close)
	tokens, err := bearer.Open(bearer.Config{
		Upstream: &bearer.Upstream{URL: server.URL, Service: "theirs"}, Issuers: []bearer.Issuer{{URL: "https://issuer.example", Audiences: []string{"a"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	return newWorldWith(t, func(c *auth.Config) {
		*c = auth.Config{Bearer: tokens}
		more(c)
	}), asked
}

// The log names who has proved to another token service who they are, and nobody else.
func TestNameOfWhoIsHandedOn(t *testing.T) {
	t.Parallel()
	w, _ := newWorldBehind(t, func(*auth.Config) {})
	var log bytes.Buffer
	w.Handler = record.New(record.Config{Log: hclog.New(&hclog.LoggerOptions{Output: &log, JSONFormat: true})}).Around(w.Handler)
	for name, test := range map[string]struct {
		call   call
		status int
		want   string
	}{
		"GET":              {call{method: "GET", path: service, name: "ann"}, 200, "ann"},
		"as a token says":  {call{method: "GET", path: service + "?scope=as+bob", name: "ann"}, 200, "bob"},
		"nobody's token":   {form("grant_type", "password", "username", "ann", "password", "of ann", "scope", "as "), 200, ""},
		"POST":             {form("grant_type", "password", "username", "ann", "password", "of ann"), 200, "ann"},
		"nobody":           {call{method: "GET", path: service + "?account=ann"}, 200, ""},
		"a refresh token":  {form("grant_type", "refresh_token", "refresh_token", "x", "scope", "as bob"), 200, "bob"},
		"one that is none": {form("grant_type", "refresh_token", "refresh_token", "x"), 200, ""},
		"a wrong one":      {call{method: "GET", path: service, name: "ann", password: "x"}, 401, ""},
		"two places":       {call{method: "GET", path: service + "?username=bob", name: "ann"}, 400, ""},
	} {
		log.Reset()
		got, line := w.do(test.call), struct{ Username string }{}
		if err := json.Unmarshal(log.Bytes(), &line); err != nil || got.Code != test.status || line.Username != test.want {
			t.Errorf("%s: %d, by %q, %v", name, got.Code, line.Username, err)
		}
	}
}

// What is refused here says what to do, and the token service is not asked.
func TestRequestThatIsNotHandedOn(t *testing.T) {
	t.Parallel()
	w, asked := newWorldBehind(t, func(*auth.Config) {})
	both := form("grant_type", "password", "username", "ann", "password", "of ann")
	both.name = "ann"
	for name, test := range map[string]struct {
		call   call
		status int
		want   string
	}{
		"a header and a form": {both, 400, "send GET, or the password in the form"},
		"a query":             {call{method: "GET", path: service + "?username=ann"}, 400, `with \"username\" there: send a name and a password as Basic with GET`},
		"another grant":       {form("grant_type", "client_credentials"), 400, "it is password or refresh_token"},
		"half a grant":        {form("grant_type", "password", "username", "ann"), 400, "without password"},
		"itself":              {call{method: "GET", path: service, name: "ann", header: []string{"Via: " + bearer.Via}}, 508, "this registry asks itself for tokens: name another"},
	} {
		if got := w.do(test.call); got.Code != test.status || !strings.Contains(got.Body.String(), test.want) || !strings.Contains(got.Body.String(), `"UNSUPPORTED"`) {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// Who gave no credentials is told no at once.
func TestNobodyIsNotHeldBack(t *testing.T) {
	t.Parallel()
	w, _ := newWorldBehind(t, func(c *auth.Config) { c.FailDelay = 24 * time.Hour }) // longer than any test
	if got := w.do(call{method: "GET", path: service + "?scope=nobody%27s"}); got.Code != http.StatusUnauthorized || got.Header().Get("WWW-Authenticate") != "Basic realm=theirs" {
		t.Errorf("%d, %v", got.Code, got.Header())
	}
}
