package openid_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth/openid"
)

// hub is what a GitHub knows of ann.
type hub struct {
	emails string
	orgs   int
	status map[string]int // of a path; 0: 200
	spent  bool           // no request is left
	asked  url.Values     // of the token endpoint
}

// serve is a GitHub Enterprise until the test ends.
func (h *hub) serve(t *testing.T) openid.Provider {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login/oauth/access_token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		h.asked = r.Form
		w.Header().Set("Content-Type", "application/json")
		if r.Form.Get("code") != "good" { // as GitHub answers, with 200
			_, _ = w.Write([]byte(`{"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."}`))
			return
		}
		_, _ = w.Write([]byte(`{"access_token": "token of ann", "token_type": "bearer", "scope": "user"}`))
	})
	api := func(path string, answer func(page int) string) {
		mux.HandleFunc("GET /api/v3"+path, func(w http.ResponseWriter, r *http.Request) {
			if h.spent {
				w.Header().Set("X-RateLimit-Remaining", "0")
			}
			page := 0
			_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
			switch status := h.status[path]; {
			case r.Header.Get("Authorization") != "Bearer token of ann":
				w.WriteHeader(http.StatusUnauthorized)
			case status != 0:
				w.WriteHeader(status)
			default:
				_, _ = w.Write([]byte(answer(page)))
			}
		})
	}
	api("/user/emails", func(int) string { return h.emails })
	api("/user/orgs", func(page int) string {
		var all []map[string]string
		for n := (page - 1) * 100; n < min(h.orgs, page*100); n++ {
			all = append(all, map[string]string{"login": fmt.Sprintf("org%d", n)})
		}
		b, _ := json.Marshal(all)
		return string(b)
	})
	api("/user/teams", func(int) string {
		return `[{"slug": "core", "name": "The core", "organization": {"login": "org0"}}]`
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return openid.Provider{Name: openid.GitHub, ClientID: "i", ClientSecret: "hunter2", Scopes: []string{"user", "read:org"}, AuthURL: s.URL + "/login/oauth/authorize"}
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	const primary = `[{"email": "old@example.org", "primary": false, "verified": true}, {"email": "ann@example.org", "primary": true, "verified": true}]`
	for name, test := range map[string]struct {
		hub    hub
		code   string
		want   error
		groups int
	}{
		"in an organisation":       {hub{emails: primary, orgs: 1}, "good", nil, 2},
		"in none":                  {hub{emails: primary, status: map[string]int{"/user/teams": 404}}, "good", nil, 0},
		"in many":                  {hub{emails: primary, orgs: 201}, "good", nil, 202},
		"in a hundred":             {hub{emails: primary, orgs: 100}, "good", nil, 101},
		"no scope for groups":      {hub{emails: primary, status: map[string]int{"/user/orgs": 403, "/user/teams": 403}}, "good", nil, 0},
		"too many requests":        {hub{emails: primary, spent: true, status: map[string]int{"/user/orgs": 403}}, "good", openid.ErrUnavailable, 0},
		"out of order":             {hub{emails: primary, status: map[string]int{"/user/teams": 500}}, "good", openid.ErrUnavailable, 0},
		"no scope for addresses":   {hub{status: map[string]int{"/user/emails": 404}}, "good", openid.ErrRefused, 0},
		"an address not verified":  {hub{emails: `[{"email": "ann@example.org", "primary": true, "verified": false}]`}, "good", openid.ErrRefused, 0},
		"an address not primary":   {hub{emails: `[{"email": "ann@example.org", "primary": false, "verified": true}]`}, "good", openid.ErrRefused, 0},
		"something else than JSON": {hub{emails: `<html>`}, "good", openid.ErrUnavailable, 0},
		"another code":             {hub{emails: primary}, "bad", openid.ErrRefused, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := logins(t, test.hub.serve(t))
			at, sealed, err := l.Begin(t.Context(), openid.GitHub, callback, "", "")
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			if q := u.Query(); q.Get("code_challenge_method") != "S256" || q.Has("nonce") || q.Get("scope") != "user read:org" {
				t.Errorf("the browser is sent to %s", at)
			}
			who, _, err := l.Finish(t.Context(), openid.GitHub, sealed, url.Values{"state": {u.Query().Get("state")}, "code": {test.code}})
			if !errors.Is(err, test.want) || err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("%+v, %v; want %v", who, err, test.want)
			}
			if test.want == nil && (who.Name != "ann@example.org" || len(who.Groups) != test.groups || test.groups > 0 && !slices.Contains(who.Groups, "org0/core")) {
				t.Errorf("%+v", who)
			}
			if test.hub.asked.Get("code_verifier") == "" || test.hub.asked.Get("client_secret") != "hunter2" {
				t.Errorf("the token endpoint was asked %v", test.hub.asked)
			}
		})
	}
	theirs := logins(t, openid.Provider{Name: openid.GitHub, ClientID: "i"})
	if at, _, err := theirs.Begin(t.Context(), openid.GitHub, callback, "", ""); err != nil || !strings.HasPrefix(at, "https://github.com/login/oauth/authorize?") {
		t.Errorf("GitHub's own: %s, %v", at, err)
	}
	if end := theirs.EndSession(t.Context(), openid.GitHub); end != "" {
		t.Errorf("a login ends at %s", end)
	}
}
