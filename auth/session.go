package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/sessions"

	"github.com/seed-16d79997/zot/auth/access"
)

// The names by which zot's pages know a session. The first cookie is the secret, the second tells scripts who is logged
// in. A session counts only beside the header: other sites can have a browser send cookies, but not that.
const (
	sessionCookie = "session"
	userCookie    = "user"
	clientHeader  = "X-Zot-Api-Client"
	clientPages   = "zot-ui"
)

const (
	sessionLife  = 24 * time.Hour // of a login
	cookieLength = 43             // of 256 bits in base64
	maxSessions  = 4              // of a request that are ended: each is a write
)

// Login is what is known of somebody who has logged in.
type Login struct {
	Name     string
	Groups   []string
	Provider string // that vouched for them; "": they had a password
}

// Sessions knows who has logged in. Its methods may be called concurrently.
type Sessions interface {
	// Session returns who has logged in with a cookie, as it is in the newest state that is to be had.
	//   - ErrUnknown if nobody has, or it is over
	//   - any other error if it cannot be told now
	Session(ctx context.Context, cookie string) (Login, error)
	// Begin records a login.
	Begin(ctx context.Context, cookie string, l Login, expires time.Time) error
	// End forgets it. It is no error that there is none.
	End(ctx context.Context, cookie string) error
}

// FromPages reports whether a request says that it comes from zot's pages, as no page of another site can.
func FromPages(r *http.Request) bool { return r.Header.Get(clientHeader) == clientPages }

// store keeps gorilla's sessions behind Sessions. The ID of one is its cookie; the cookie for scripts comes and goes with it.
type store struct{ gate *Gate }

var _ sessions.Store = store{}

// ofLogin is under which key a session has its Login.
const ofLogin = "login"

// Get returns the session that a request comes with. It looks once in a request.
func (s store) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New is Get, and looks again. The session is new if the request comes with none, and if it fails:
//   - ErrCredentials if there is none for the cookie, or none any more
//   - another error if it cannot be told now
func (s store) New(r *http.Request, name string) (*sessions.Session, error) {
	one := s.fresh(r, name)
	cookie := theOne(r.CookiesNamed(name))
	if cookie == "" {
		return one, nil
	}
	if len(cookie) != cookieLength { // it is none of ours
		return one, ErrCredentials
	}
	l, err := s.gate.config.Sessions.Session(r.Context(), cookie)
	switch {
	case errors.Is(err, ErrUnknown):
		return one, ErrCredentials
	case err != nil:
		return one, fmt.Errorf("find out whose session it is: %w", err)
	}
	one.ID, one.IsNew, one.Values[ofLogin] = cookie, false, l
	return one, nil
}

// fresh is a session of nobody yet.
func (s store) fresh(r *http.Request, name string) *sessions.Session {
	one := sessions.NewSession(s, name)
	one.IsNew = true
	one.Options = &sessions.Options{
		Path: "/", MaxAge: int(sessionLife.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.gate.secureCookies(r),
	}
	return one
}

// Save records a session, under a new ID if it has none, or ends it where its age is below zero. If it fails, no cookie is set.
func (s store) Save(r *http.Request, w http.ResponseWriter, one *sessions.Session) error {
	l, err := loginOf(one), error(nil)
	switch age := time.Duration(one.Options.MaxAge) * time.Second; {
	case age < 0:
		if one.ID != "" {
			err = s.gate.config.Sessions.End(r.Context(), one.ID)
		}
		one.ID, l.Name = "", ""
	case one.ID == "":
		var b [32]byte
		_, _ = rand.Read(b[:]) // never fails: it ends the process instead
		one.ID = base64.RawURLEncoding.EncodeToString(b[:])
		fallthrough
	default:
		err = s.gate.config.Sessions.Begin(r.Context(), one.ID, l, time.Now().Add(age))
	}
	if err != nil {
		return fmt.Errorf("save the session: %w", err)
	}
	forScripts := *one.Options
	forScripts.HttpOnly = false
	http.SetCookie(w, sessions.NewCookie(one.Name(), one.ID, one.Options))
	http.SetCookie(w, sessions.NewCookie(userCookie, url.PathEscape(l.Name), &forScripts))
	w.Header().Set("Cache-Control", "no-store") // what is in the answer is for this browser alone
	return nil
}

func loginOf(one *sessions.Session) Login {
	l, _ := one.Values[ofLogin].(Login)
	return l
}

// theOne is what a cookie says, or "". Of several none counts: a neighbouring site can put one of its own before ours, and
// have somebody work in that.
func theOne(all []*http.Cookie) string {
	switch len(all) {
	case 0:
		return ""
	case 1:
		return all[0].Value
	}
	return "several"
}

// hasSession reports whether a request comes with a session, or what looks like one, and sessions count for it.
func (g *Gate) hasSession(r *http.Request) bool {
	return g != nil && g.config.Sessions != nil && FromPages(r) && theOne(r.CookiesNamed(sessionCookie)) != ""
}

// bySession finds out who has logged in. Its errors are those of store.New.
func (g *Gate) bySession(r *http.Request) (Caller, error) {
	one, err := store{g}.New(r, sessionCookie)
	if err != nil {
		return Caller{}, err
	}
	l := loginOf(one)
	return Caller{gate: g, who: access.Identity{Name: l.Name, Groups: l.Groups}}, nil
}

// Greet gives the pages of somebody who has just shown a password a session, unless they have theirs.
//
// If it fails there is none, and whoever asks is known all the same.
func (g *Gate) Greet(w http.ResponseWriter, r *http.Request, caller Caller) error {
	if !caller.byPassword || g.config.Sessions == nil || !FromPages(r) {
		return nil
	}
	if before, err := g.bySession(r); err == nil && before.who.Name == caller.who.Name {
		return nil
	}
	return g.Begin(w, r, Login{Name: caller.who.Name, Groups: caller.who.Groups})
}

// Begin gives the browser of somebody who is known a session. It is a new one, whatever came with the request: a session
// that somebody else has put there is theirs, and ends. If it fails no session has begun.
func (g *Gate) Begin(w http.ResponseWriter, r *http.Request, l Login) error {
	if err := g.end(r); err != nil {
		return err
	}
	next := store{g}.fresh(r, sessionCookie)
	next.Values[ofLogin] = l
	return next.Save(r, w)
}

// end ends the sessions that a request comes with. Of more than a few it is no browser that sends them.
func (g *Gate) end(r *http.Request) error {
	all := r.CookiesNamed(sessionCookie)
	for _, c := range all[:min(len(all), maxSessions)] {
		if len(c.Value) != cookieLength {
			continue
		}
		// Only what is there is ended, which is a write: anybody may log out.
		if _, err := g.config.Sessions.Session(r.Context(), c.Value); errors.Is(err, ErrUnknown) {
			continue
		} else if err != nil {
			return fmt.Errorf("find out whose session it is: %w", err)
		}
		if err := g.config.Sessions.End(r.Context(), c.Value); err != nil {
			return fmt.Errorf("end the session: %w", err)
		}
	}
	return nil
}

// Dismiss has a browser forget a session that does not hold.
func (g *Gate) Dismiss(w http.ResponseWriter, r *http.Request) {
	if g.hasSession(r) && r.Header.Get("Authorization") == "" {
		g.forget(w, r)
	}
}

// Logout ends the session that a request comes with, on all nodes, and returns which provider had vouched for who had it,
// if one had. If it fails, it goes on.
func (g *Gate) Logout(w http.ResponseWriter, r *http.Request) (provider string, err error) {
	if !g.hasSession(r) {
		return "", nil
	}
	one, err := store{g}.New(r, sessionCookie)
	if err != nil && !errors.Is(err, ErrCredentials) {
		return "", err
	}
	if err := g.end(r); err != nil {
		return "", err
	}
	g.forget(w, r)
	return loginOf(one).Provider, nil
}

// forget has a browser forget its session.
func (g *Gate) forget(w http.ResponseWriter, r *http.Request) {
	none := store{g}.fresh(r, sessionCookie)
	none.Options.MaxAge = -1
	_ = none.Save(r, w) // without an ID there is nothing that could fail
}

// secureCookies reports whether cookies are for TLS alone.
func (g *Gate) secureCookies(r *http.Request) bool { return g.config.SecureCookies || g.hasTLS(r) }
