package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/bearer"
)

const (
	defaultRefresh = time.Minute
	minRefresh     = time.Second // each refresh costs money, and tokens wait for it
)

// readSecret reads where a token service has its keys, in place of a file.
func readSecret(s *section) *bearer.Secret {
	k := &bearer.Secret{Refresh: defaultRefresh}
	s.text("region", &k.Region)
	s.text("secretName", &k.Name)
	s.duration("refreshInterval", &k.Refresh)
	if k.Region == "" {
		s.problem(s.key("region"), `say where the secret is, as "us-east-1"`, "is missing")
	}
	if k.Name == "" {
		s.problem(s.key("secretName"), `give the name or ARN of the secret, as "zot/token-keys"`, "is missing")
	}
	switch {
	case k.Refresh == 0: // as for zot
		k.Refresh = defaultRefresh
	case k.Refresh < minRefresh:
		s.note(s.key("refreshInterval"), "is %s; %s is what is done", k.Refresh, minRefresh)
		k.Refresh = minRefresh
	}
	return k
}

// readTokenUpstream reads whom to ask for tokens in the name of clients.
func readTokenUpstream(s *section) *bearer.Upstream {
	u, inTheClear := &bearer.Upstream{}, false
	s.text("realm", &u.URL)
	s.text("service", &u.Service)
	s.boolean("allowInsecureHttp", &inTheClear)
	const example = "https://auth.example/token"
	at, err := parseWeb(u.URL)
	switch {
	case u.URL == "":
		s.problem(s.key("realm"), `say where the token service is, as "`+example+`"`, "is missing")
	case err != nil:
		s.problem(s.key("realm"), `write it as "`+example+`"`, "%v", err)
	case at.Scheme == "http" && !inTheClear:
		s.problem(s.key("realm"), "write https, or set allowInsecureHttp where nobody can stand between", "would be given passwords in the clear")
	case at.Scheme == "http":
		s.note(s.key("allowInsecureHttp"), "has passwords sent to %s in the clear: whoever stands between can read them", at.Host)
	}
	if u.Service == "" {
		s.problem(s.key("service"), "say what tokens are asked for there, as the token service calls it", "is missing")
	}
	return u
}

// judgeUpstream finds what speaks against asking another token service, in the light of the whole section.
func (b *Bearer) judgeUpstream(s *section) {
	if b.Upstream == nil {
		return
	}
	key := s.key("upstreamTokenEndpoint")
	switch {
	case len(b.OIDC) == 0:
		s.note(key, "says nothing without oidc: clients ask the token service at realm by themselves")
		b.Upstream = nil
	case isOwnService(b.Realm, b.Upstream.URL):
		s.problem(key+".realm", "name the token service that is asked for who has no token of an issuer", "is realm, where this registry is: it would ask itself")
	case !b.hasKeys():
		s.note(key, "gets tokens that are not believed: say by which key they are signed, by cert or awsSecretsManager, with realm and service")
	}
	if at := slices.IndexFunc(b.OIDC, func(i bearer.Issuer) bool { return i.AnyIssuer }); at >= 0 && b.Upstream != nil {
		s.note(key, "is asked for nobody who has a JWT for a password: with skipIssuerVerification any may be the issuer's")
	}
}

// isOwnService reports whether realm is this registry's own token service, and so is another address, however it is written.
func isOwnService(realm, other string) bool {
	ours, err := parseWeb(realm)
	if err != nil || !strings.HasSuffix(ours.Path, auth.TokenPath) {
		return false
	}
	at, err := parseWeb(other)
	return err == nil && at.Path == ours.Path && hostOf(at) == hostOf(ours)
}

// hostOf is the host of an address and its port, also where that goes without saying.
func hostOf(u *url.URL) string {
	port := u.Port()
	switch {
	case port == "" && u.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
