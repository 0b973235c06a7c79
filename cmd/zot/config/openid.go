package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/auth/openid"
)

// OpenID says who may vouch for people, and where their browsers may be sent after that.
type OpenID struct {
	Providers []OpenIDProvider
	Origins   []string // as https://pages.example; beside the registry itself and the browser's own machine
}

// OpenIDProvider is a provider with zot's keys.
type OpenIDProvider struct {
	openid.Provider

	Title string // for people
}

// key is where the provider's key of that name is.
func (p *OpenIDProvider) key(name string) string {
	return "http.auth.openid.providers." + p.Name + "." + name
}

// providerNames are those that zot knows, in its older and in its newer versions.
func providerNames() []string { return []string{"dex", openid.GitHub, "gitlab", "google", "oidc"} }

func readOpenID(s *section, c *Auth) {
	o, says := &OpenID{}, false
	s.section("providers", func(s *section) {
		says = len(s.object.members) > 0
		for _, name := range providerNames() {
			s.section(name, func(s *section) { o.Providers = append(o.Providers, readProvider(s, name)) })
		}
		for _, m := range s.object.members {
			if !s.knows(m.name) && s.schema == nil {
				s.problem(s.key(m.name), mendProvider(strings.ToLower(m.name)), "%q is no provider that is known", m.name)
				s.ignored(m.name)
			}
		}
	})
	s.list("callbackAllowOrigins", &o.Origins)
	for i, origin := range o.Origins {
		if u, err := parseWeb(strings.TrimSuffix(origin, "/")); err != nil || u.Path != "" || u.RawQuery != "" {
			s.problem(fmt.Sprintf("%s[%d]", s.key("callbackAllowOrigins"), i), `write it as "https://pages.example", without a path`, "%q is no origin", withoutAccount(origin))
		}
	}
	if !says {
		s.note(s.path, "names no provider, so nobody can log in by it")
		return
	}
	c.OpenID = o
}

func mendProvider(name string) string {
	if near := nearest(name, providerNames()); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "write dex, github, gitlab or google, or oidc for any that speaks OpenID Connect"
}

func readProvider(s *section, name string) OpenIDProvider {
	p := OpenIDProvider{}
	p.Name = name
	s.text("name", &p.Title)
	s.text("issuer", &p.Issuer)
	s.text("clientid", &p.ClientID)
	s.text("clientsecret", &p.ClientSecret)
	s.text("credentialsFile", &p.CredentialsFile)
	s.text("keypath", &p.KeyFile)
	s.list("scopes", &p.Scopes)
	s.text("authurl", &p.AuthURL)
	s.text("tokenurl", &p.TokenURL)
	s.section("claimMapping", func(s *section) {
		s.text("username", &p.UsernameClaim)
		s.text("groups", &p.GroupsClaim)
	})
	p.checkClient(s)
	p.checkPlaces(s)
	return p
}

func (p *OpenIDProvider) checkClient(s *section) {
	switch {
	case p.CredentialsFile != "" && p.ClientID+p.ClientSecret != "":
		s.problem(s.key("credentialsFile"), "remove the file, or clientid and clientsecret", "stands beside clientid and clientsecret")
	case p.CredentialsFile == "" && p.ClientID == "":
		s.problem(s.key("clientid"), "give the id that the provider has for this registry", "is missing")
	}
	if p.KeyFile != "" && p.ClientSecret != "" {
		s.note(s.key("clientsecret"), "is not used: keypath proves who the registry is")
	}
	const scope = "openid"
	switch {
	case len(p.Scopes) == 0 && p.Name == openid.GitHub:
		s.problem(s.key("scopes"), `say what GitHub is asked for, as ["user:email", "read:org"]`, "is missing")
	case len(p.Scopes) == 0:
		s.problem(s.key("scopes"), `say what the provider is asked for, as ["openid", "email", "groups"]`, "is missing")
	case p.Name != openid.GitHub && !slices.Contains(p.Scopes, scope):
		s.note(s.key("scopes"), `"openid" is asked for too: without it a provider says nothing of who has logged in`)
		p.Scopes = append([]string{scope}, p.Scopes...)
	}
}

func (p *OpenIDProvider) checkPlaces(s *section) {
	switch {
	case p.Name == openid.GitHub && p.Issuer != "":
		s.note(s.key("issuer"), "says nothing: GitHub has none; a GitHub Enterprise is named by authurl")
	case p.Name == openid.GitHub:
	case p.Issuer == "":
		s.problem(s.key("issuer"), `say where it is, as "https://accounts.example.org"`, "is missing")
	default:
		p.checkWeb(s, "issuer", p.Issuer)
	}
	if p.Name == openid.GitHub && p.UsernameClaim+p.GroupsClaim != "" {
		s.note(s.key("claimMapping"), "says nothing: GitHub has no claims; names are email addresses, groups are organisations and teams")
	}
	if p.AuthURL != "" {
		p.checkWeb(s, "authurl", p.AuthURL)
	}
	if p.TokenURL != "" {
		p.checkWeb(s, "tokenurl", p.TokenURL)
	}
}

func (*OpenIDProvider) checkWeb(s *section, name, at string) {
	u, err := parseWeb(at)
	switch {
	case err != nil:
		s.problem(s.key(name), `write it as "https://accounts.example.org"`, "%v", err)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		s.note(s.key(name), "is spoken to in the clear: who stands between can log in as anybody")
	}
}

// parseWeb fails for what is no address of a page. The error does not have what is before an "@".
func parseWeb(at string) (*url.URL, error) {
	u, err := url.Parse(at)
	switch {
	case err != nil && strings.Contains(at, "@"):
		return nil, errors.New("is no address that begins with https://")
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("%q is no address that begins with https://", at)
	case u.User != nil:
		return nil, fmt.Errorf("%q has a name or a password in it", u.Redacted())
	}
	return u, nil
}

// withoutAccount is an address to show, without a name and a password that somebody has put into it.
func withoutAccount(at string) string {
	if end := strings.LastIndexByte(at, '@'); end >= 0 {
		return "..." + at[end:]
	}
	return at
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// checkFiles reads the files that providers name.
func (o *OpenID) checkFiles(r *reader) {
	for _, p := range o.Providers {
		if p.KeyFile != "" && r.file(p.key("keypath"), p.KeyFile) != nil {
			if err := openid.CheckKey(p.KeyFile); err != nil {
				r.problem(p.key("keypath"), "give a private key in PEM, or the file of JSON that the provider has made", "%v", err)
			}
		}
		if p.CredentialsFile == "" || r.file(p.key("credentialsFile"), p.CredentialsFile) == nil {
			continue
		}
		if _, _, err := openid.ReadCredentials(p.CredentialsFile); err != nil {
			r.problem(p.key("credentialsFile"), `write it as {"clientid": "...", "clientsecret": "..."}`, "%v", err)
		}
	}
}
