package auth

import "net/http"

// Where a browser begins a login with a provider, and where the provider sends it back to, with its name behind that. The
// second of each is that of older versions of zot.
const (
	LoginPath       = "/zot/auth/login"
	OldLoginPath    = "/auth/login"
	CallbackPath    = "/zot/auth/callback/"
	OldCallbackPath = "/auth/callback/"
)

// flightCookie holds a login that is under way.
const (
	flightCookie  = "statecookie"
	flightSeconds = 600
)

// HasOpenID reports whether there are providers that people can log in with.
func (g *Gate) HasOpenID() bool { return g != nil && g.config.OpenID != nil }

// BeginLogin begins a login with a provider, and returns where to send the browser. To is where it wants to be in the end.
// It fails as openid.Logins.Begin does. There must be providers.
func (g *Gate) BeginLogin(w http.ResponseWriter, r *http.Request, provider, to string) (at string, err error) {
	origin := g.Origin(r)
	at, sealed, err := g.config.OpenID.Begin(r.Context(), provider, origin+g.callbackOf(r, provider)+provider, to, origin)
	if err != nil {
		return "", err
	}
	g.setFlight(w, r, sealed, flightSeconds)
	return at, nil
}

// FinishLogin ends a login when a provider has sent the browser back, begins a session, and returns whose, and where the browser
// wants to be. It fails as openid.Logins.Finish and Begin do; then no session has begun. There must be providers.
//
// The login is over in any case: what the browser has of it is good once.
func (g *Gate) FinishLogin(w http.ResponseWriter, r *http.Request, provider string) (name, to string, err error) {
	sealed := theOne(r.CookiesNamed(flightCookie))
	g.setFlight(w, r, "", -1)
	who, to, err := g.config.OpenID.Finish(r.Context(), provider, sealed, r.URL.Query())
	if err != nil {
		return "", "", err
	}
	return who.Name, to, g.Begin(w, r, Login{Name: who.Name, Groups: who.Groups, Provider: provider})
}

// EndSession is where a browser ends its login at a provider, "" if that is nowhere.
func (g *Gate) EndSession(r *http.Request, provider string) string {
	if !g.HasOpenID() || provider == "" {
		return ""
	}
	return g.config.OpenID.EndSession(r.Context(), provider)
}

// callbackOf is the path, without the provider, that a provider is told to send a browser to. Providers send it only where
// they have been told to before, when zot was registered there: by its older versions, which alone know dex by that name, or
// by its newer ones, which alone have an external URL. Else it is of the family of the path by which the login began.
func (g *Gate) callbackOf(r *http.Request, provider string) string {
	switch {
	case provider == "dex":
		return OldCallbackPath
	case provider == "oidc", g.config.ExternalURL != "", r.URL.Path != OldLoginPath:
		return CallbackPath
	}
	return OldCallbackPath
}

// setFlight sets the cookie of a login that is under way for so many seconds, or removes it. It is for both callbacks.
func (g *Gate) setFlight(w http.ResponseWriter, r *http.Request, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // without TLS nothing is secure
		Name: flightCookie, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: g.secureCookies(r),
	})
	w.Header().Set("Cache-Control", "no-store")
}
