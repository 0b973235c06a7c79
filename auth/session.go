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

// Sessions knows who has logged in. Its methods may be called concurrently.
type Sessions interface {
	// Session returns who has logged in with a cookie, as it is in the newest state that is to be had.
	//   - ErrUnknown if nobody has, or it is over
	//   - any other error if it cannot be told now
	Session(ctx context.Context, cookie string) (name string, groups []string, err error)
	// Begin records a login.
	Begin(ctx context.Context, cookie, name string, groups []string, expires time.Time) error
	// End forgets it. It is no error that there is none.
	End(ctx context.Context, cookie string) error
}

// FromPages reports whether a request says that it comes from zot's pages, as no page of another site can.
func FromPages(r *http.Request) bool { return r.Header.Get(clientHeader) == clientPages }

// sessionsOf are the sessions that a request comes with, if sessions count for it.
func (g *Gate) sessionsOf(r *http.Request) (all []string) {
	if g == nil || g.config.Sessions == nil || !FromPages(r) {
		return nil
	}
	for _, c := range r.CookiesNamed(sessionCookie) {
		all = append(all, c.Value)
	}
	return all
}

// sessionOf is the session that a request comes with, if sessions count for it; or "". Of several none counts: a
// neighbouring site can put one of its own before ours, and have somebody work in that.
func (g *Gate) sessionOf(r *http.Request) string {
	switch all := g.sessionsOf(r); len(all) {
	case 0:
		return ""
	case 1:
		return all[0]
	}
	return "several"
}

// bySession finds out who has logged in with a cookie.
func (g *Gate) bySession(ctx context.Context, cookie string) (Caller, error) {
	if len(cookie) != cookieLength { // it is none of ours
		return Caller{}, ErrCredentials
	}
	name, groups, err := g.config.Sessions.Session(ctx, cookie)
	switch {
	case errors.Is(err, ErrUnknown):
		return Caller{}, ErrCredentials
	case err != nil:
		return Caller{}, fmt.Errorf("find out whose session it is: %w", err)
	}
	return Caller{gate: g, who: access.Identity{Name: name, Groups: groups}}, nil
}

// Greet gives the pages of somebody who has just shown a password a session, unless they have theirs. It is a new one,
// whatever came with the request: a session that somebody else has put there is theirs, and ends.
//
// If it fails there is none, and whoever asks is known all the same.
func (g *Gate) Greet(w http.ResponseWriter, r *http.Request, caller Caller) error {
	if !caller.byPassword || g.config.Sessions == nil || !FromPages(r) {
		return nil
	}
	if before := g.sessionOf(r); before != "" {
		if name, _, err := g.config.Sessions.Session(r.Context(), before); err == nil && name == caller.who.Name {
			return nil
		}
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	cookie, expires := base64.RawURLEncoding.EncodeToString(b[:]), time.Now().Add(sessionLife)
	if err := g.config.Sessions.Begin(r.Context(), cookie, caller.who.Name, caller.who.Groups, expires); err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	w.Header().Set("Cache-Control", "no-store") // what is in the answer is for this browser alone
	g.setCookies(w, r, cookie, caller.who.Name, int(sessionLife.Seconds()))
	return g.end(r)
}

// end ends the sessions that a request comes with. Of more than a few it is no browser that sends them.
func (g *Gate) end(r *http.Request) error {
	all := g.sessionsOf(r)
	for _, cookie := range all[:min(len(all), maxSessions)] {
		if err := g.config.Sessions.End(r.Context(), cookie); err != nil {
			return fmt.Errorf("end the session: %w", err)
		}
	}
	return nil
}

// Dismiss has a browser forget a session that does not hold.
func (g *Gate) Dismiss(w http.ResponseWriter, r *http.Request) {
	if g.sessionOf(r) != "" && r.Header.Get("Authorization") == "" {
		g.setCookies(w, r, "", "", -1)
	}
}

// Logout ends the session that a request comes with, on all nodes. If it fails, it goes on.
func (g *Gate) Logout(w http.ResponseWriter, r *http.Request) error {
	if g.sessionOf(r) == "" {
		return nil
	}
	if err := g.end(r); err != nil {
		return err
	}
	g.setCookies(w, r, "", "", -1)
	return nil
}

// setCookies sets both cookies for so many seconds, or removes them.
func (g *Gate) setCookies(w http.ResponseWriter, r *http.Request, secret, name string, seconds int) {
	set := func(name, value string, hidden bool) {
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // the name is for scripts, and without TLS nothing is secure
			Name: name, Value: value, Path: "/", MaxAge: seconds, HttpOnly: hidden, SameSite: http.SameSiteLaxMode,
			Secure: g.config.SecureCookies || g.hasTLS(r),
		})
	}
	set(sessionCookie, secret, true)
	set(userCookie, url.PathEscape(name), false)
}
