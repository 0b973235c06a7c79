package auth_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
)

// logins are sessions by their cookies.
type logins struct {
	names map[string]string
	// Of the last one.
	expires  time.Time
	provider string

	ends int // how many were to be ended
	err  error
}

func (l *logins) Session(_ context.Context, cookie string) (auth.Login, error) {
	if l.err != nil {
		return auth.Login{}, l.err
	}
	name, known := l.names[cookie]
	if !known {
		return auth.Login{}, auth.ErrUnknown
	}
	return auth.Login{Name: name, Groups: []string{"devs"}, Provider: l.provider}, nil
}

func (l *logins) Begin(_ context.Context, cookie string, login auth.Login, expires time.Time) error {
	if l.err != nil {
		return l.err
	}
	l.names[cookie], l.expires, l.provider = login.Name, expires, login.Provider
	return nil
}

func (l *logins) End(_ context.Context, cookie string) error {
	l.ends++
	if l.err != nil {
		return l.err
	}
	delete(l.names, cookie)
	return nil
}

// answered is what a gate does with a request, as a registry has it do so, and the cookies that it sets.
func answered(t *testing.T, g *auth.Gate, r *http.Request) (caller auth.Caller, cookies map[string]*http.Cookie, err error) {
	t.Helper()
	w := httptest.NewRecorder()
	if caller, err = g.Identify(r); err == nil {
		err = g.Greet(w, r, caller)
	} else if errors.Is(err, auth.ErrCredentials) {
		g.Dismiss(w, r)
	}
	cookies = map[string]*http.Cookie{}
	for _, c := range w.Result().Cookies() {
		cookies[c.Name] = c
	}
	return caller, cookies, err
}

// fromPages marks a request as one of zot's pages, with a session if there is one.
func fromPages(r *http.Request, session string) *http.Request {
	r.Header.Set("X-ZOT-API-CLIENT", "zot-ui")
	if session != "" {
		r.AddCookie(&http.Cookie{Name: "session", Value: session})
	}
	return r
}

// nobody is a request without credentials.
func nobody(t *testing.T) *http.Request {
	t.Helper()
	r := asking(t, "", "")
	r.Header.Del("Authorization")
	return r
}

func TestLogin(t *testing.T) {
	t.Parallel()
	l := &logins{names: map[string]string{}}
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Sessions: l})
	if _, cookies, err := answered(t, g, asking(t, "ann", "p")); err != nil || len(cookies) != 0 {
		t.Errorf("without the header: %v, cookies %v", err, cookies)
	}
	if _, cookies, err := answered(t, g, fromPages(asking(t, "ann", "q"), "")); !errors.Is(err, auth.ErrCredentials) || len(cookies) != 0 {
		t.Errorf("with a bad password: %v, cookies %v", err, cookies)
	}
	_, cookies, err := answered(t, g, fromPages(asking(t, "ann o'b", "p"), ""))
	session, user := cookies["session"], cookies["user"]
	if err != nil || session == nil || user == nil {
		t.Fatalf("%v, cookies %v", err, cookies)
	}
	if session.Secure || !session.HttpOnly || session.SameSite != http.SameSiteLaxMode || session.Path != "/" || session.MaxAge != 24*3600 || len(session.Value) != 43 {
		t.Errorf("session %+v", session)
	}
	if user.HttpOnly || user.Value != "ann%20o%27b" && user.Value != "ann%20o'b" || user.SameSite != http.SameSiteLaxMode {
		t.Errorf("user %+v", user)
	}
	if left := time.Until(l.expires); left > 24*time.Hour || left < 23*time.Hour {
		t.Errorf("it lasts %s", left)
	}

	// It is good with the header alone, and nobody is greeted twice.
	caller, cookies, err := answered(t, g, fromPages(nobody(t), session.Value))
	if err != nil || caller.Name() != "ann o'b" || len(caller.Groups()) != 1 || len(cookies) != 0 {
		t.Errorf("%q, %v, cookies %v", caller.Name(), err, cookies)
	}
	other := nobody(t)
	other.AddCookie(&http.Cookie{Name: "session", Value: session.Value})
	if _, cookies, err := answered(t, g, other); !errors.Is(err, auth.ErrCredentials) || len(cookies) != 0 {
		t.Errorf("without the header: %v, cookies %v", err, cookies)
	}
	if _, cookies, err := answered(t, g, fromPages(asking(t, "ann o'b", "p"), session.Value)); err != nil || len(cookies) != 0 || len(l.names) != 1 {
		t.Errorf("again: %v, cookies %v, sessions %v", err, cookies, l.names)
	}

	// One that somebody else has put into the browser ends.
	_, cookies, err = answered(t, g, fromPages(asking(t, "bob", "p"), session.Value))
	if next := cookies["session"]; err != nil || next == nil || next.Value == session.Value || len(l.names) != 1 || l.names[next.Value] != "bob" {
		t.Errorf("%v, cookies %v, sessions %v", err, cookies, l.names)
	}

	// One that does not hold is taken away.
	for _, bad := range []string{session.Value, "x", strings.Repeat("x", 5000)} {
		_, cookies, err = answered(t, g, fromPages(nobody(t), bad))
		if c := cookies["session"]; !errors.Is(err, auth.ErrCredentials) || c == nil || c.MaxAge >= 0 || c.Value != "" || cookies["user"].MaxAge >= 0 {
			t.Errorf("%v, cookies %v", err, cookies)
		}
	}
	l.err = errUntold
	if _, cookies, err := answered(t, g, fromPages(nobody(t), session.Value)); !errors.Is(err, errUntold) || errors.Is(err, auth.ErrCredentials) || len(cookies) != 0 {
		t.Errorf("while it cannot be told: %v, cookies %v", err, cookies)
	}
	if caller, cookies, err := answered(t, g, fromPages(asking(t, "ann", "p"), "")); !errors.Is(err, errUntold) || caller.Name() != "ann" || len(cookies) != 0 {
		t.Errorf("while it cannot be kept: %v, cookies %v", err, cookies)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	one, two := strings.Repeat("1", 43), strings.Repeat("2", 43)
	l := &logins{names: map[string]string{one: "ann", two: "ann"}, provider: "dex"}
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Sessions: l})
	without := nobody(t)
	without.AddCookie(&http.Cookie{Name: "session", Value: one})
	if _, err := g.Logout(httptest.NewRecorder(), without); err != nil || len(l.names) != 2 {
		t.Errorf("without the header: %v, left %v", err, l.names)
	}
	l.err = errUntold
	w := httptest.NewRecorder()
	if _, err := g.Logout(w, fromPages(nobody(t), one)); !errors.Is(err, errUntold) || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("while it cannot be decided: %v, %v", err, w.Header())
	}
	l.err = nil
	if provider, err := g.Logout(w, fromPages(nobody(t), one)); err != nil || provider != "dex" || l.names[one] != "" || len(l.names) != 1 || len(w.Header()["Set-Cookie"]) != 2 {
		t.Errorf("%v, left %v, %v", err, l.names, w.Header())
	}
	w = httptest.NewRecorder()
	if provider, err := g.Logout(w, fromPages(nobody(t), one)); err != nil || provider != "" || len(w.Header()["Set-Cookie"]) != 2 {
		t.Errorf("again: %v, %q, %v", err, provider, w.Header())
	}
	var none *auth.Gate
	if _, err := none.Logout(w, fromPages(nobody(t), one)); err != nil {
		t.Error(err)
	}
}

func TestCookiesAreSecure(t *testing.T) {
	t.Parallel()
	for _, always := range []bool{false, true} {
		for _, connection := range []*tls.ConnectionState{nil, {}} {
			g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Sessions: &logins{names: map[string]string{}}, SecureCookies: always})
			r := fromPages(asking(t, "ann", "p"), "")
			r.TLS = connection
			_, cookies, err := answered(t, g, r)
			if want := always || connection != nil; err != nil || cookies["session"].Secure != want || cookies["user"].Secure != want {
				t.Errorf("always %t, TLS %t: %v, %+v", always, connection != nil, err, cookies)
			}
		}
	}
}

// An API key is no login: whoever finds one must not stay when it is revoked.
func TestKeysBeginNoSession(t *testing.T) {
	t.Parallel()
	secret, l := auth.NewKey(), &logins{names: map[string]string{}}
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Sessions: l, Keys: keys{secret: {Owner: "ann"}}})
	if _, cookies, err := answered(t, g, fromPages(asking(t, "ann", secret), "")); err != nil || len(cookies) != 0 || len(l.names) != 0 {
		t.Errorf("%v, cookies %v, sessions %v", err, cookies, l.names)
	}
}

// A neighbouring site can put a session of its own beside the one that somebody has, or will have: nobody is known by
// either, and a login ends both.
func TestSeveralSessions(t *testing.T) {
	t.Parallel()
	planted, hers := strings.Repeat("p", 43), strings.Repeat("h", 43)
	for name, both := range map[string][2]string{"planted first": {planted, hers}, "planted last": {hers, planted}, "the same twice": {hers, hers}} {
		l := &logins{names: map[string]string{planted: "eve", hers: "ann"}}
		g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Sessions: l, Rules: compiled(t, map[string]access.Repository{"open": {Anonymous: access.Read}})})
		with := func(r *http.Request) *http.Request {
			fromPages(r, both[0]).AddCookie(&http.Cookie{Name: "session", Value: both[1]})
			return r
		}
		if caller, cookies, err := answered(t, g, with(nobody(t))); !errors.Is(err, auth.ErrCredentials) || caller.Name() != "" || cookies["session"] == nil || cookies["session"].MaxAge >= 0 {
			t.Errorf("%s: %q, %v, cookies %v", name, caller.Name(), err, cookies)
		}
		caller, cookies, err := answered(t, g, with(asking(t, "ann", "p")))
		next := cookies["session"]
		if err != nil || caller.Name() != "ann" || next == nil || next.Value == planted || next.Value == hers || l.names[next.Value] != "ann" {
			t.Errorf("%s, login: %q, %v, cookies %v", name, caller.Name(), err, cookies)
		}
		if l.names[both[0]] != "" || l.names[both[1]] != "" {
			t.Errorf("%s: left %v", name, l.names)
		}
	}
	l := &logins{names: map[string]string{}}
	many := fromPages(nobody(t), "")
	for n := range 100 {
		cookie := fmt.Sprintf("%043d", n)
		l.names[cookie] = "ann"
		many.AddCookie(&http.Cookie{Name: "session", Value: cookie})
	}
	if _, err := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Sessions: l}).Logout(httptest.NewRecorder(), many); err != nil || len(l.names) != 96 {
		t.Errorf("of 100 sessions %d are left, %v", len(l.names), err)
	}
}

// Nobody has a session by saying which: a name that is known already, or one that is made up, is nobody's login.
func TestSessionsAreNotChosen(t *testing.T) {
	t.Parallel()
	chosen := strings.Repeat("c", 43)
	l := &logins{names: map[string]string{}}
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Sessions: l})
	_, cookies, err := answered(t, g, fromPages(asking(t, "ann", "p"), chosen))
	if next := cookies["session"]; err != nil || next == nil || next.Value == chosen || l.names[chosen] != "" {
		t.Errorf("%v, cookies %v, sessions %v", err, cookies, l.names)
	}
	if _, _, err := answered(t, g, fromPages(nobody(t), chosen)); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("the one that was chosen: %v", err)
	}
	if _, cookies, err = answered(t, g, fromPages(asking(t, "ann", "q"), chosen)); !errors.Is(err, auth.ErrCredentials) || len(l.names) != 1 {
		t.Errorf("a wrong password: %v, cookies %v, sessions %v", err, cookies, l.names)
	}
}

// Who was vouched for gets a new session without the header, and what came with the request ends.
func TestBegin(t *testing.T) {
	t.Parallel()
	before := strings.Repeat("1", 43)
	l := &logins{names: map[string]string{before: "mallory"}}
	g := auth.New(auth.Config{Sessions: l})
	r := nobody(t)
	r.AddCookie(&http.Cookie{Name: "session", Value: before})
	w := httptest.NewRecorder()
	if err := g.Begin(w, r, auth.Login{Name: "ann", Provider: "dex"}); err != nil {
		t.Fatal(err)
	}
	cookie := w.Result().Cookies()[0]
	if cookie.Name != "session" || cookie.Value == before || len(l.names) != 1 || l.names[cookie.Value] != "ann" || l.provider != "dex" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v, sessions %v", w.Header(), l.names)
	}
	l.err = errUntold
	w = httptest.NewRecorder()
	if err := g.Begin(w, r, auth.Login{Name: "ann"}); !errors.Is(err, errUntold) || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("while it cannot be kept: %v, %v", err, w.Header())
	}
}

// Whoever logs out without a login has nothing written.
func TestLogoutOfNobody(t *testing.T) {
	t.Parallel()
	l := &logins{names: map[string]string{}}
	g := auth.New(auth.Config{Methods: []auth.Method{password("p")}, Sessions: l})
	for _, cookie := range []string{strings.Repeat("x", 43), "x", ""} {
		w := httptest.NewRecorder()
		if _, err := g.Logout(w, fromPages(nobody(t), cookie)); err != nil || l.ends != 0 {
			t.Errorf("%q: %v, %d writes", cookie, err, l.ends)
		}
	}
	l.err = errUntold
	if _, err := g.Logout(httptest.NewRecorder(), fromPages(nobody(t), strings.Repeat("x", 43))); !errors.Is(err, errUntold) {
		t.Errorf("while it cannot be told: %v", err)
	}
}
