package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/token"
)

// TokenPath is where the registry's own token service is.
const TokenPath = "/zot/auth/token" //nolint:gosec // a path, and no token

// CatalogScope is what a token must be for that lists repositories.
const CatalogScope = "registry:catalog:*"

const (
	typeRepository = "repository"
	bearerScheme   = "Bearer "
)

// Grant is a token, and what it is for.
type Grant struct {
	Token  string
	Issued time.Time
	Access []token.Access
}

// HasTokens reports whether there is a token service.
func (g *Gate) HasTokens() bool { return g != nil && g.config.Tokens != nil }

// LoginByKey finds out who somebody is by an API key alone. It fails as Login does.
func (g *Gate) LoginByKey(ctx context.Context, secret string) (Caller, error) {
	if g.config.Keys == nil || !isKey(secret) {
		return Caller{}, ErrCredentials
	}
	return g.byKey(ctx, "", secret)
}

// Grant makes a token for what a caller asked for, as far as they may have it: clients ask for more than they need.
// What a token is for does not widen what its subject may; rules are asked again when it is used.
//
// It fails with ErrCredentials for who comes with a token: it would last for ever; and with token.ErrTooLarge.
func (g *Gate) Grant(caller Caller, service string, wanted []token.Access) (Grant, error) {
	if caller.limits.Token {
		return Grant{}, ErrCredentials
	}
	now := time.Now()
	granted := Grant{Issued: now}
	for _, a := range wanted {
		a.Actions = slices.DeleteFunc(slices.Clone(a.Actions), func(word string) bool { return !caller.mayBeGranted(a.Type, a.Name, word) })
		if len(a.Actions) > 0 {
			granted.Access = append(granted.Access, a)
		}
	}
	var err error
	granted.Token, err = g.config.Tokens.Sign(token.Claims{
		Subject: caller.who.Name, Audience: service, Groups: g.config.Rules.Named(caller.who.Groups), Key: caller.limits.Key, Access: granted.Access,
	}, now)
	return granted, err
}

// mayBeGranted reports whether a token of the caller may be for an action, in the words of the protocol.
func (c Caller) mayBeGranted(kind, name, word string) bool {
	if kind == "registry" {
		return name == "catalog" && word == "*" // it shows what may be read
	}
	if kind != typeRepository {
		return false
	}
	for _, do := range []access.Action{access.Read, access.Create, access.Update, access.Delete} {
		if actionsOf(word)&do != 0 && c.might(do, name) {
			return true
		}
	}
	return false
}

// actionsOf are what a word of the token protocol stands for. Whether a push creates or updates, its client cannot know.
func actionsOf(word string) access.Action {
	switch word {
	case "pull":
		return access.Read
	case "push":
		return access.Create | access.Update
	case "delete":
		return access.Delete
	case "*":
		return access.Read | access.Create | access.Update | access.Delete
	}
	return 0
}

// ParseScope reads one scope of a token request, as "repository:team/app:pull,push". It reports whether it is one.
func ParseScope(text string) (a token.Access, is bool) {
	kind, rest, ok := strings.Cut(text, ":")
	last := strings.LastIndexByte(rest, ':') // a name may have a port
	if !ok || last <= 0 {
		return a, false
	}
	kind, _, _ = strings.Cut(kind, "(") // Docker's class of a repository
	a = token.Access{Type: kind, Name: rest[:last]}
	for word := range strings.SplitSeq(rest[last+1:], ",") {
		if word != "" && !slices.Contains(a.Actions, word) {
			a.Actions = append(a.Actions, word)
		}
	}
	return a, true
}

// byToken finds out whose token it is. The rules of the moment are asked at each use, and so is the API key that it was
// made with, if one was; a password that has changed since is not.
func (g *Gate) byToken(ctx context.Context, text string) (Caller, error) {
	claims, err := g.config.Tokens.Verify(text, time.Now())
	if err != nil {
		return Caller{}, ErrCredentials
	}
	c := Caller{gate: g, who: access.Identity{Name: claims.Subject, Groups: claims.Groups}, limits: limits{Lent: true, Token: true, Granted: claims.Access}}
	if claims.Subject == "" && !g.open() {
		return Caller{}, ErrCredentials
	}
	if claims.Key == "" {
		return c, nil
	}
	if g.config.Keys == nil {
		return Caller{}, ErrCredentials
	}
	k, err := g.config.Keys.KeyOf(ctx, claims.Subject, claims.Key)
	switch {
	case errors.Is(err, ErrUnknown):
		return Caller{}, ErrCredentials
	case err != nil:
		return Caller{}, fmt.Errorf("find out whether the API key of a token holds: %w", err)
	}
	c.limits.Scopes = k.Scopes
	return c, nil
}

// tokenOf is the token that a request comes with, if there is a service of them; or "".
func (g *Gate) tokenOf(r *http.Request) string {
	if !g.HasTokens() {
		return ""
	}
	return bearerOf(r)
}

// bearerOf is the token that a request comes with, or "".
func bearerOf(r *http.Request) string {
	text := r.Header.Get("Authorization")
	if len(text) < len(bearerScheme) || !strings.EqualFold(text[:len(bearerScheme)], bearerScheme) {
		return ""
	}
	return text[len(bearerScheme):]
}

// Origin is where a client has reached this registry, as scheme and host.
func (g *Gate) Origin(r *http.Request) string {
	if g != nil && g.config.ExternalURL != "" {
		return g.config.ExternalURL
	}
	scheme := "http"
	if g.hasTLS(r) {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// hasTLS reports whether the client's connection has TLS: its own, or that to a proxy that is believed.
func (g *Gate) hasTLS(r *http.Request) bool {
	if r.TLS != nil || g == nil || !g.config.Proxies.has(parseAddress(r.RemoteAddr)) {
		return r.TLS != nil
	}
	all := strings.Join(r.Header["X-Forwarded-Proto"], ",")
	return strings.TrimSpace(all[strings.LastIndexByte(all, ',')+1:]) == "https" // what the proxy itself has added
}

// tokenChallenge says where to get a token, and for what.
func (g *Gate) tokenChallenge(r *http.Request, caller Caller, origin string, scopes []string) string {
	_, service, _ := strings.Cut(origin, "://")
	return bearerChallenge(r, caller, origin+TokenPath, service, scopes)
}

// bearerChallenge is that of a token service. Realm and service may be "".
func bearerChallenge(r *http.Request, caller Caller, realm, service string, scopes []string) string {
	reason := ""
	switch {
	case caller.limits.Token:
		reason = "insufficient_scope"
	case caller.who.Name == "" && bearerOf(r) != "":
		reason = "invalid_token"
	}
	text := "Bearer"
	for _, p := range []struct{ name, value string }{{"realm", realm}, {"service", service}, {"scope", strings.Join(scopes, " ")}, {"error", reason}} {
		if p.value == "" {
			continue
		}
		if text != "Bearer" {
			text += ","
		} else {
			text += " "
		}
		text += fmt.Sprintf("%s=%q", p.name, p.value)
	}
	return text
}

// prefersTokens reports whether a client is told of the token service alone, or of passwords. To tell both of one thing
// does harm: Docker, told of both, sends passwords, or fails if it has none. So programs for containers are told of
// tokens, which all of them know; and whoever has just sent a password, or looks like a browser or a tool for any
// web site, of passwords. A password is taken from everybody.
func prefersTokens(r *http.Request) bool {
	if _, _, given := r.BasicAuth(); given {
		return false
	}
	agent := r.UserAgent()
	return !slices.ContainsFunc([]string{"Mozilla/", "curl/", "Wget/"}, func(other string) bool { return strings.HasPrefix(agent, other) })
}
