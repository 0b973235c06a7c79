package openid_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/seed-16d79997/zot/auth/openid"
)

// A login that begins at one node ends at another, also when the keys have changed between.
func TestLogin(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	one, two := logins(t, i.named("oidc")), loginsWith(t, [][]byte{key('b'), key('a')}, i.named("oidc"))
	at, sealed, err := one.Begin(t.Context(), "oidc", callback, "/home", "https://registry.example")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) != 43 || len(q.Get("nonce")) != 43 || q.Get("redirect_uri") != callback {
		t.Errorf("the browser is sent to %s", at)
	}
	for _, secret := range []string{q.Get("state"), q.Get("nonce"), "/home"} {
		if text, _ := base64.RawURLEncoding.DecodeString(sealed); strings.Contains(string(text), secret) {
			t.Errorf("the cookie shows %s", secret)
		}
	}
	said := visited(t, at)
	who, to, err := two.Finish(t.Context(), "oidc", sealed, said)
	if err != nil || who.Name != "ann@example.org" || !slices.Equal(who.Groups, []string{"devs", "ops"}) || to != "/home" {
		t.Errorf("%+v to %q, %v", who, to, err)
	}
	if form := i.asked[0]; form.Get("code_verifier") == "" || form.Get("redirect_uri") != callback || form.Get("client_secret") != i.ClientSecret || i.header[0].Get("Authorization") != "" {
		t.Errorf("the token endpoint was asked %v", form)
	}

	// The first key seals.
	if _, sealed, err = two.Begin(t.Context(), "oidc", callback, "/home", "https://registry.example"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := one.Finish(t.Context(), "oidc", sealed, said); !errors.Is(err, openid.ErrRefused) || !strings.Contains(err.Error(), "not begun here") {
		t.Errorf("sealed with a key that the other does not have: %v", err)
	}
	if i.found != 2 {
		t.Errorf("two nodes have asked %d times what the provider says of itself", i.found)
	}

	// The code is good once, whoever has kept the cookie.
	sealed, said = begun(t, one)
	if _, _, err := two.Finish(t.Context(), "oidc", sealed, said); err != nil {
		t.Fatal(err)
	}
	if _, _, err := one.Finish(t.Context(), "oidc", sealed, said); !errors.Is(err, openid.ErrRefused) {
		t.Errorf("again: %v", err)
	}
	if err := one.Rotate(nil); err == nil {
		t.Error("no key is a key")
	}
	if _, _, err := one.Finish(t.Context(), "oidc", sealed, said); !strings.Contains(err.Error(), "code") {
		t.Errorf("after a bad rotation: %v", err)
	}
	if err := one.Rotate([][]byte{key('c')}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := one.Finish(t.Context(), "oidc", sealed, said); !errors.Is(err, openid.ErrRefused) || strings.Contains(err.Error(), "code") {
		t.Errorf("after a rotation: %v", err)
	}
}

// What comes back is believed only if this browser has begun it, with this provider.
func TestCallbackOfAnother(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	l := logins(t, i.named("oidc"), i.named("gitlab"))
	stranger := loginsWith(t, [][]byte{key('z')}, i.named("oidc"))
	for name, test := range map[string]struct {
		provider string
		with     func(sealed string, said url.Values) (string, url.Values)
	}{
		"as it should be, for another provider": {"gitlab", func(s string, v url.Values) (string, url.Values) { return s, v }},
		"no cookie":                             {"oidc", func(_ string, v url.Values) (string, url.Values) { return "", v }},
		"a cookie that is none":                 {"oidc", func(_ string, v url.Values) (string, url.Values) { return "AAAA", v }},
		"a cookie that is not even text":        {"oidc", func(_ string, v url.Values) (string, url.Values) { return "\x00", v }},
		"a cookie that was changed": {"oidc", func(s string, v url.Values) (string, url.Values) {
			b, _ := base64.RawURLEncoding.DecodeString(s)
			b[len(b)/2] ^= 1
			return base64.RawURLEncoding.EncodeToString(b), v
		}},
		"a cookie of another cluster": {"oidc", func(_ string, v url.Values) (string, url.Values) {
			s, _ := begun(t, stranger)
			return s, v
		}},
		"the cookie of another login": {"oidc", func(_ string, v url.Values) (string, url.Values) {
			s, _ := begun(t, l)
			return s, v
		}},
		"no state": {"oidc", func(s string, v url.Values) (string, url.Values) { v.Del("state"); return s, v }},
		"an error with another state": {"oidc", func(s string, _ url.Values) (string, url.Values) {
			return s, url.Values{"error": {"access_denied"}, "state": {"x"}}
		}},
		"no code":          {"oidc", func(s string, v url.Values) (string, url.Values) { v.Del("code"); return s, v }},
		"a code of nobody": {"oidc", func(s string, v url.Values) (string, url.Values) { v.Set("code", "x"); return s, v }},
		"another issuer":   {"oidc", func(s string, v url.Values) (string, url.Values) { v.Set("iss", "https://other.example"); return s, v }},
		"the code of another login, whose verifier is another": {"oidc", func(s string, v url.Values) (string, url.Values) {
			_, other := begun(t, l)
			v.Set("code", other.Get("code"))
			return s, v
		}},
	} {
		t.Run(name, func(t *testing.T) {
			sealed, said := test.with(begun(t, l))
			who, to, err := l.Finish(t.Context(), test.provider, sealed, said)
			if !errors.Is(err, openid.ErrRefused) || who.Name != "" || strings.Contains(err.Error(), i.ClientSecret) {
				t.Errorf("%+v to %q, %v", who, to, err)
			}
		})
	}
	sealed, said := begun(t, l)
	if _, _, err := l.Finish(t.Context(), "none", sealed, said); !errors.Is(err, openid.ErrProvider) {
		t.Errorf("a provider that is none: %v", err)
	}
	said.Set("iss", i.Issuer())
	if _, _, err := l.Finish(t.Context(), "oidc", sealed, said); err != nil {
		t.Errorf("as it should be: %v", err)
	}
	sealed, said = begun(t, l)
	denied := url.Values{"error": {"access_denied"}, "error_description": {"not today\n"}, "state": said["state"]}
	if _, _, err := l.Finish(t.Context(), "oidc", sealed, denied); !errors.Is(err, openid.ErrRefused) || !strings.Contains(err.Error(), `"access_denied", "not today\n"`) {
		t.Errorf("denied: %v", err)
	}
}

func TestLoginTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := openid.New(openid.Config{Providers: []openid.Provider{{Name: openid.GitHub, ClientID: "i"}}, Keys: [][]byte{key('a')}})
		if err != nil {
			t.Fatal(err)
		}
		at, sealed, err := l.Begin(t.Context(), openid.GitHub, callback, "", "")
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(at)
		said := url.Values{"state": {u.Query().Get("state")}, "error": {"denied"}}
		time.Sleep(10*time.Minute - time.Second)
		if _, _, err := l.Finish(t.Context(), openid.GitHub, sealed, said); !strings.Contains(err.Error(), "by the provider") {
			t.Errorf("in time: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, _, err := l.Finish(t.Context(), openid.GitHub, sealed, said); !errors.Is(err, openid.ErrRefused) || !strings.Contains(err.Error(), "longer than 10m") {
			t.Errorf("too late: %v", err)
		}
	})
}

// An ID token that is not all that it should be lets nobody in.
func TestIDTokenOfAnother(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	l := logins(t, i.named("oidc"))
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&i.key().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	set := func(name string, value any) func(*testing.T, map[string]any) string {
		return func(t *testing.T, c map[string]any) string {
			t.Helper()
			if c[name] = value; value == nil {
				delete(c, name)
			}
			return i.signWith(t, jose.RS256, i.key(), c)
		}
	}
	for name, sign := range map[string]func(t *testing.T, claims map[string]any) string{
		"another key": func(t *testing.T, c map[string]any) string { t.Helper(); return i.signWith(t, jose.RS256, other, c) },
		"no signature": func(t *testing.T, c map[string]any) string {
			t.Helper()
			text, _ := json.Marshal(c)
			b64 := base64.RawURLEncoding.EncodeToString
			return b64([]byte(`{"alg":"none"}`)) + "." + b64(text) + "."
		},
		"the public key taken for a secret": func(t *testing.T, c map[string]any) string {
			t.Helper()
			return i.signWith(t, jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), c)
		},
		"no token":                 func(*testing.T, map[string]any) string { return "x" },
		"another issuer":           set("iss", "https://other.example"),
		"no issuer":                set("iss", nil),
		"another audience":         set("aud", "other"),
		"no audience":              set("aud", nil),
		"another party":            set("azp", "other"),
		"over":                     set("exp", time.Now().Add(-time.Second).Unix()),
		"never over":               set("exp", nil),
		"not yet":                  set("nbf", time.Now().Add(time.Hour).Unix()),
		"another nonce":            set("nonce", "x"),
		"no nonce":                 set("nonce", nil),
		"another access token":     set("at_hash", "x"),
		"an address not verified":  set("email_verified", false),
		"nor in words":             set("email_verified", "false"),
		"no name":                  set("email", ""),
		"a name that is none":      set("email", []string{"a"}),
		"a name on two lines":      set("email", "ann\nbob"),
		"a name without an end":    set("email", strings.Repeat("a", 513)),
		"more groups than anybody": set("groups", slices.Repeat([]string{"g"}, 4097)),
		"groups without an end":    set("groups", []string{strings.Repeat("g", 200<<10)}),
	} {
		t.Run(name, func(t *testing.T) {
			i.mu.Lock()
			i.sign = func(c map[string]any) string { return sign(t, c) }
			i.mu.Unlock()
			sealed, said := begun(t, l)
			if who, _, err := l.Finish(t.Context(), "oidc", sealed, said); !errors.Is(err, openid.ErrRefused) {
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
	i.sign = func(c map[string]any) string { return set("azp", i.ClientID)(t, c) }
	sealed, said := begun(t, l)
	if _, _, err := l.Finish(t.Context(), "oidc", sealed, said); err != nil {
		t.Errorf("as it should be: %v", err)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		username, groups string
		claims, info     map[string]any // nil: as the issuer has them
		want             string
	}{
		"those of zot":            {want: "ann@example.org devs,ops"},
		"others":                  {username: "preferred_username", groups: "roles", claims: map[string]any{"preferred_username": "ann", "roles": "admin", "email_verified": false}, want: "ann admin"},
		"not in the ID token":     {claims: map[string]any{"email": nil, "email_verified": nil, "groups": nil}, want: "ann@example.org devs,ops"},
		"of Google":               {claims: map[string]any{"groups": nil}, info: map[string]any{"groups": nil}, want: "ann@example.org "},
		"some in the ID token":    {claims: map[string]any{"email": nil, "groups": []any{"one", 2}}, info: map[string]any{"groups": []string{"two"}}, want: "ann@example.org one"},
		"verified nowhere":        {claims: map[string]any{"email_verified": nil}, info: map[string]any{"email_verified": nil}, want: "ann@example.org devs,ops"},
		"not verified there":      {claims: map[string]any{"email": nil, "email_verified": nil}, info: map[string]any{"email_verified": "false"}, want: "refused"},
		"nowhere":                 {username: "nick", want: "refused"},
		"of somebody else":        {claims: map[string]any{"groups": nil}, info: map[string]any{"sub": "bob"}, want: "refused"},
		"of nobody in particular": {claims: map[string]any{"groups": nil}, info: map[string]any{"sub": nil}, want: "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			maps.Copy(i.claims, test.claims)
			maps.Copy(i.info, test.info)
			p := i.named("oidc")
			p.UsernameClaim, p.GroupsClaim = test.username, test.groups
			l := logins(t, p)
			sealed, said := begun(t, l)
			who, _, err := l.Finish(t.Context(), "oidc", sealed, said)
			got := who.Name + " " + strings.Join(who.Groups, ",")
			if errors.Is(err, openid.ErrRefused) {
				got, err = "refused", nil
			}
			if got != test.want || err != nil {
				t.Errorf("%s, %v; want %s", got, err, test.want)
			}
		})
	}
}

// hangUp ends all connections to a port, until the function that it returns is called. (Without a listener somebody else would get
// the port.)
func hangUp(t *testing.T, l net.Listener) (up func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return func() {
		limited := l.(*net.TCPListener)
		if err := limited.SetDeadline(time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
		<-done
		if err := limited.SetDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
	}
}

// A provider may be down when a node starts, and come up later.
func TestProviderIsDown(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed below
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	down := logins(t, openid.Provider{Name: "oidc", Issuer: "http://" + at + "/oidc", ClientID: "i", Scopes: []string{"openid"}})
	up := hangUp(t, l)
	if _, _, err := down.Begin(t.Context(), "oidc", callback, "", ""); !errors.Is(err, openid.ErrUnavailable) || strings.Contains(err.Error(), at) {
		t.Errorf("while it is down: %v", err)
	}
	if end := down.EndSession(t.Context(), "oidc"); end != "" {
		t.Errorf("while it is down a login ends at %s", end)
	}
	up()
	i := serveIssuer(t, l)
	if _, _, err := down.Begin(t.Context(), "oidc", callback, "", ""); err != nil {
		t.Errorf("when it is up: %v", err)
	}
	if end := down.EndSession(t.Context(), "oidc"); end != "" {
		t.Errorf("a login ends at %s, which the provider has not said", end)
	}
	wrong := i.named("oidc")
	wrong.Issuer += "/"
	if _, _, err := logins(t, wrong).Begin(t.Context(), "oidc", callback, "", ""); !errors.Is(err, openid.ErrUnavailable) {
		t.Errorf("another issuer than it says: %v", err)
	}
}

// All who log in while a provider is slow wait for one answer, and who goes keeps none of the others from it.
func TestProviderIsSlow(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	slow := httptest.NewUnstartedServer(nil)
	slow.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		_, _ = fmt.Fprintf(w, `{"issuer": %q, "authorization_endpoint": "http://a.example"}`, slow.URL)
	})
	slow.Start()
	t.Cleanup(slow.Close)
	l := logins(t, openid.Provider{Name: "oidc", Issuer: slow.URL, ClientID: "i"})
	first, gone := context.WithCancel(t.Context())
	left, stayed := make(chan error, 1), make(chan error, 1)
	begin := func(ctx context.Context, told chan<- error) {
		_, _, err := l.Begin(ctx, "oidc", callback, "", "")
		told <- err
	}
	go begin(first, left) // waited for below
	<-asked
	go begin(t.Context(), stayed) // as above
	gone()
	if err := <-left; !errors.Is(err, openid.ErrUnavailable) {
		t.Errorf("who has gone: %v", err)
	}
	close(answer)
	if err := <-stayed; err != nil {
		t.Errorf("who has stayed: %v", err)
	}
}

// A secret goes where the provider takes it, and none goes nowhere.
func TestSecretInAHeader(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.says = map[string]any{"token_endpoint_auth_methods_supported": []string{"client_secret_basic"}}
	public := i.named("oidc")
	public.ClientSecret = ""
	for n, p := range []openid.Provider{i.named("oidc"), public} {
		l := logins(t, p)
		sealed, said := begun(t, l)
		if _, _, err := l.Finish(t.Context(), "oidc", sealed, said); err != nil {
			t.Fatal(err)
		}
		if got := i.header[n].Get("Authorization") != ""; got != (n == 0) || i.asked[n].Has("client_secret") || i.asked[n].Has("client_id") != (n == 1) {
			t.Errorf("%d: the token endpoint was asked %v with %v", n, i.asked[n], i.header[n])
		}
	}
}

// Without a secret the code alone is of no use, and with a key the registry signs who it is.
func TestOtherProofs(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	public := i.named("oidc")
	public.ClientSecret = ""
	l := logins(t, public)
	sealed, said := begun(t, l)
	if _, _, err := l.Finish(t.Context(), "oidc", sealed, said); err != nil {
		t.Fatal(err)
	}
	if form := i.asked[0]; form.Has("client_secret") || i.header[0].Get("Authorization") != "" || form.Get("code_verifier") == "" || form.Get("client_id") != i.ClientID {
		t.Errorf("the token endpoint was asked %v", form)
	}

	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{"type": "application", "keyId": "7", "key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	if err != nil {
		t.Fatal(err)
	}
	signing := i.named("oidc")
	signing.KeyFile = filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(signing.KeyFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	l = logins(t, signing)
	sealed, said = begun(t, l)
	if _, _, err := l.Finish(t.Context(), "oidc", sealed, said); err != nil {
		t.Fatal(err)
	}
	form := i.asked[1]
	parsed, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var c jwt.Claims
	if err := parsed.Claims(&own.PublicKey, &c); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(jwt.Expected{Issuer: i.ClientID, Subject: i.ClientID, AnyAudience: jwt.Audience{i.Issuer()}, Time: time.Now()}); err != nil {
		t.Error(err)
	}
	if form.Has("client_secret") || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || parsed.Headers[0].KeyID != "7" || c.ID == "" {
		t.Errorf("the token endpoint was asked %v", form)
	}
}

func TestReturn(t *testing.T) {
	t.Parallel()
	l := logins(t, openid.Provider{Name: openid.GitHub, ClientID: "i"})
	for to, allowed := range map[string]bool{
		"":                                    true,
		"/":                                   true,
		"/explore?search=a%20b#x":             true,
		"/a//b":                               true,
		"https://registry.example/home":       true,
		"http://registry.example/home":        true,
		"https://REGISTRY.example":            true,
		"https://pages.example/a":             true,
		"HTTPS://Pages.Example":               true,
		"http://localhost:3000/home":          true,
		"http://127.0.0.1:8080/explore":       true,
		"http://[::1]:8080/":                  true,
		"//evil.example":                      false,
		"///evil.example":                     false,
		`/\evil.example`:                      false,
		`\/evil.example`:                      false,
		`\\evil.example`:                      false,
		"/\t/evil.example":                    false,
		"/\n/evil.example":                    false,
		"/\x00/evil.example":                  false,
		"\t//evil.example":                    false,
		" //evil.example":                     false,
		"/ä":                                  false,
		"evil.example":                        false,
		"home":                                false,
		"?a":                                  false,
		"https:evil.example":                  false,
		"https:/evil.example":                 false,
		"https:///evil.example":               false,
		"https://evil.example":                false,
		"https://registry.example.evil":       false,
		"https://registry.example:444":        false,
		"https://registry.example@evil":       false,
		"https://a:b@registry.example":        false,
		"https://evil.example#@pages.example": false,
		"https://evil.example?pages.example":  false,
		`https://evil.example\@pages.example`: false,
		"http://pages.example":                false,
		"https://a.pages.example":             false,
		"http://localhost.evil.example":       false,
		"http://127.0.0.1.evil.example":       false,
		"http://localhost:x":                  false,
		"http://2130706433":                   false,
		"javascript:alert(1)":                 false,
		"javascript://localhost/%0aalert(1)":  false,
		"data:text/html,x":                    false,
		"ftp://localhost":                     false,
		"/a b":                                false,
		"/" + strings.Repeat("a", 1024):       false,
	} {
		_, _, err := l.Begin(t.Context(), openid.GitHub, callback, to, "https://registry.example")
		if allowed != (err == nil) || err != nil && !errors.Is(err, openid.ErrReturn) {
			t.Errorf("%q: %v, want it allowed: %t", to, err, allowed)
		}
	}
	if _, _, err := l.Begin(t.Context(), openid.GitHub, callback, "https:/evil.example", "http://"); !errors.Is(err, openid.ErrReturn) {
		t.Errorf("of one who does not say where the registry is: %v", err)
	}
	if _, _, err := l.Begin(t.Context(), openid.GitHub, callback+strings.Repeat("x", 4000), "/", ""); !errors.Is(err, openid.ErrReturn) {
		t.Errorf("what no browser keeps: %v", err)
	}
	if _, _, err := l.Begin(t.Context(), "none", callback, "/", ""); !errors.Is(err, openid.ErrProvider) || !strings.Contains(err.Error(), "github") {
		t.Errorf("a provider that is none: %v", err)
	}
}
