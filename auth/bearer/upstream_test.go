package bearer_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-16d79997/zot/auth/bearer"
)

// forwarding is a verifier that asks a token service.
func forwarding(t *testing.T, at string, answer http.HandlerFunc, more ...bearer.Issuer) *bearer.Verifier {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	v := must(bearer.Open(bearer.Config{Upstream: &bearer.Upstream{URL: server.URL + at, Service: "theirs", Withheld: []string{"https://people.example"}}, Issuers: more}))
	t.Cleanup(v.Close)
	return v
}

// TestUpstreamIsAsked has the request of a client go on as what it is, but for the service and what the address says.
func TestUpstreamIsAsked(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	v := forwarding(t, "/token?tenant=a", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		requests <- r
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(`{}`))
	})
	said := func() string {
		got := <-requests
		return fmt.Sprintf("%s %s?%s body %s; %s, %s, %s", got.Method, got.URL.Path, got.URL.Query().Encode(), got.PostForm.Encode(),
			got.Header.Get("Authorization"), got.Header.Get("Via"), got.Header.Get("Content-Type"))
	}
	q := bearer.TokenRequest{
		Fields:        url.Values{"service": {"ours", "more"}, "scope": {"repository:a:pull", "repository:b:pull"}, "tenant": {"b"}},
		Authorization: "Basic x",
	}
	a, err := v.AskUpstream(t.Context(), q)
	if err != nil || a.Status != http.StatusTeapot || string(a.Body) != `{}` || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v, %v", a, err)
	}
	const scopes = "scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull&service=theirs"
	if got, want := said(), "GET /token?"+scopes+"&tenant=a body ; Basic x, 1.1 zot-token-upstream, "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	q.Post, q.Authorization = true, ""
	if _, err = v.AskUpstream(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	if got, want := said(), "POST /token?service=theirs&tenant=a body "+scopes+"; , 1.1 zot-token-upstream, application/x-www-form-urlencoded"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if q.Fields.Get("service") != "ours" || q.Fields.Get("tenant") != "b" {
		t.Error("what was asked is changed")
	}
}

// TestUpstreamDoesNotAnswer has errors that name the host, and nothing of the request.
func TestUpstreamDoesNotAnswer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	v := forwarding(t, "", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Query().Get("do") {
		case "redirect":
			http.Redirect(w, r, "/?do=answer", http.StatusTemporaryRedirect)
		case "flood":
			_, _ = w.Write(make([]byte, 1<<20+1))
		case "hang up":
			panic(http.ErrAbortHandler)
		case "another protocol":
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
			_, _ = io.Copy(io.Discard, c) // until the other side ends it
			_ = c.Close()
		}
	})
	for what, want := range map[string]string{"another protocol": "it does not answer, but 101", "redirect": "it sends elsewhere", "flood": "more than 1048576 bytes", "hang up": "EOF"} {
		asked.Store(0)
		_, err := v.AskUpstream(t.Context(), bearer.TokenRequest{Fields: url.Values{"do": {what}, "password": {"hunter2"}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "ask the token service at 127.0.0.1:") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times", what, n)
		}
	}
	if _, err := must(bearer.Open(bearer.Config{})).AskUpstream(t.Context(), bearer.TokenRequest{}); !errors.Is(err, bearer.ErrNoUpstream) {
		t.Error(err)
	}
}

// TestIssued has what must not be shown to another token service, whether or not it holds.
func TestIssued(t *testing.T) {
	t.Parallel()
	v := forwarding(t, "", func(http.ResponseWriter, *http.Request) {}, bearer.Issuer{URL: "https://issuer.example"})
	loose := must(bearer.Open(bearer.Config{Issuers: []bearer.Issuer{{URL: "https://issuer.example", AnyIssuer: true}}}))
	of := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for name, test := range map[string]struct {
		text        string
		ours, loose bool // to the one, to the other
	}{
		"an issuer's":           {of(`{"iss":"https://issuer.example","aud":"others"}`), true, true},
		"with another slash":    {of(`{"iss":"https://issuer.example/"}`), true, true},
		"with space around":     {" " + of(`{"iss":"https://issuer.example"}`) + "\n", true, true},
		"padded":                {"e30=." + base64.URLEncoding.EncodeToString([]byte(`{"iss":"https://issuer.example"}`)) + ".c2ln", true, true},
		"of who vouches":        {of(`{"iss":"https://people.example"}`), true, true},
		"of its host":           {of(`{"iss":"issuer.example"}`), true, true},
		"with capitals":         {of(`{"iss":"HTTPS://Issuer.Example"}`), true, true},
		"with space within":     {strings.Replace(of(`{"iss":"https://issuer.example"}`), "c3", "c\n\t 3", 1), true, true},
		"with a dot behind":     {of(`{"iss":"https://issuer.example"}`) + ".", true, true},
		"with a dot before":     {"." + of(`{"iss":"https://issuer.example"}`), true, true},
		"in quotes":             {`"` + of(`{"iss":"https://issuer.example"}`) + `"`, true, true},
		"with its scheme":       {"Bearer " + of(`{"iss":"https://issuer.example"}`), true, true},
		"in the other alphabet": {"e30." + base64.StdEncoding.EncodeToString([]byte(`{"iss":"https://issuer.example","??>":"??>"}`)) + ".c2ln", true, true},
		"without a signature":   {"e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://issuer.example"}`)), true, true},
		"another's":             {of(`{"iss":"https://other.example"}`), false, true},
		"of nobody's":           {of(`{}`), false, true},
		"claims that are none":  {of(`[]`), false, false},
		"an issuer that is not": {of(`{"iss":1}`), false, false},
		"a password":            {"hunter2", false, false},
		"one with two dots":     {"hunter.2.3", false, false},
		"none":                  {"", false, false},
	} {
		if v.Issued(test.text) != test.ours || loose.Issued(test.text) != test.loose {
			t.Errorf("%s: %t, %t", name, v.Issued(test.text), loose.Issued(test.text))
		}
	}
}
