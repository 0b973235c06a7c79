package main

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"
)

// matrixIdentity is somebody who asks.
type matrixIdentity struct {
	name    string
	person  string                                // whose grants they have
	refused bool                                  // their credentials hold nowhere
	login   func(c *cell) (user, password string) // nil: they send no password
	header  func(c *cell) map[string]string       // of their requests

	certificate string // the common name of what they show; "": they show none
	foreign     bool   // it is a token of another service, which is for what it says
	lists       bool   // that says that it is for all of the catalog
}

// matrixWay is how people say who they are.
type matrixWay struct {
	identities []matrixIdentity
	passwords  bool // there are passwords, and API keys for who has one
	keys       bool // there are API keys
	shows      bool // there may be certificates of clients
	tokens     bool // tokens of others alone say who somebody is
}

// matrixWays are all ways of the matrix. Of an identity that is in several the matrix says the same in each.
func matrixWays() map[string]matrixWay {
	return map[string]matrixWay{
		"":                           {identities: matrixIdentities(), passwords: true, keys: true},
		"certificates":               {identities: certificateIdentities(), keys: true, shows: true},
		"certificates and passwords": {identities: bothIdentities(), passwords: true, keys: true, shows: true},
		"certificates or nothing":    {identities: append(certified(), matrixIdentity{name: "none"}), shows: true},
		"tokens of others":           {identities: otherIdentities(), tokens: true},
	}
}

// withPassword is a password that is the name.
func withPassword(name string) func(*cell) (string, string) {
	return func(*cell) (string, string) { return name, name }
}

// withKey is one of alice's API keys.
func withKey(of func(m *matrix) madeKey) func(c *cell) (string, string) {
	return func(c *cell) (string, string) { return "alice", of(c.matrix).APIKey }
}

// withToken is a token in its header.
func withToken(of func(m *matrix) string) func(c *cell) map[string]string {
	return func(c *cell) map[string]string { return map[string]string{"Authorization": "Bearer " + of(c.matrix)} }
}

// Each try of a bad password is of another account and from another address: this is not about guessing.
func badPassword(c *cell) (user, password string) { return fmt.Sprint("w", c.number), "wrong" }

func fromElsewhere(c *cell) map[string]string {
	return map[string]string{"X-Forwarded-For": fmt.Sprintf("10.%d.%d.%d", c.number>>16&255, c.number>>8&255, c.number&255)}
}

// matrixIdentities are those of passwords.
func matrixIdentities() []matrixIdentity {
	return []matrixIdentity{
		{name: "none"},
		{name: "empty name", header: func(*cell) map[string]string { return map[string]string{"Authorization": "Basic Og=="} }}, // as some clients say that they have none
		{name: "alice", person: "alice", login: withPassword("alice")},
		{name: "jack", person: "jack", login: withPassword("jack")}, // mostly what a group may
		{name: "nina", person: "nina", login: withPassword("nina")}, // mostly what everybody may who has a name
		{name: "admin", person: "admin", login: withPassword("admin")},
		{name: "bad password", refused: true, login: badPassword, header: fromElsewhere},
		{name: "expired key", refused: true, login: withKey(func(m *matrix) madeKey { return m.expired })},
		{name: "revoked key", refused: true, login: withKey(func(m *matrix) madeKey { return m.revoked })},
		{name: "key", person: "alice", login: withKey(func(m *matrix) madeKey { return m.key })},
		{name: "key with scopes", person: "alice", login: withKey(func(m *matrix) madeKey { return m.scoped })},
		{name: "session", person: "alice", header: func(c *cell) map[string]string {
			return map[string]string{"X-ZOT-API-CLIENT": "zot-ui", "Cookie": "session=" + c.session()}
		}},
		{name: "token", person: "alice", header: withToken(func(m *matrix) string { return m.token })},
		{name: "token to pull", person: "alice", header: withToken(func(m *matrix) string { return m.pulling })},
	}
}

// certified are who shows a certificate, and nothing else.
func certified() (all []matrixIdentity) {
	for _, name := range matrixPeople()[1:] {
		all = append(all, matrixIdentity{name: "certificate of " + name, person: name, certificate: name})
	}
	return all
}

// besideCertificates are keys of alice beside a certificate of somebody else: who gives credentials is who these say.
func besideCertificates() []matrixIdentity {
	return []matrixIdentity{
		{name: "key beside a certificate", person: "alice", certificate: "nina", login: withKey(func(m *matrix) madeKey { return m.key })},
		{name: "revoked key beside a certificate", refused: true, certificate: "admin", login: withKey(func(m *matrix) madeKey { return m.revoked })},
	}
}

// certificateIdentities are those where everybody has to show a certificate.
func certificateIdentities() []matrixIdentity {
	return append(
		append(certified(), besideCertificates()...),
		matrixIdentity{name: "no certificate", refused: true},
		matrixIdentity{name: "key without a certificate", refused: true, login: withKey(func(m *matrix) madeKey { return m.key })},
	)
}

// bothIdentities are those where certificates and passwords each suffice.
func bothIdentities() []matrixIdentity {
	return append(
		append(certified(), besideCertificates()...),
		matrixIdentity{name: "none"},
		matrixIdentity{name: "alice", person: "alice", login: withPassword("alice")},
		matrixIdentity{name: "password beside a certificate", person: "jack", certificate: "alice", login: withPassword("jack")},
		matrixIdentity{name: "bad password beside a certificate", refused: true, certificate: "alice", login: badPassword, header: fromElsewhere},
	)
}

// otherIdentities are those of tokens that others have made: a token service, which says what they are for, and an issuer,
// which says who somebody is.
func otherIdentities() []matrixIdentity {
	of := func(name string) func(*cell) map[string]string {
		return withToken(func(m *matrix) string { return m.others[name] })
	}
	all := []matrixIdentity{
		{name: "no token"},
		{name: "token in place of a password", refused: true, login: func(c *cell) (string, string) { return "alice", c.others["workload alice"] }},
		{name: "password in place of a token", refused: true, login: withPassword("alice")},
		{name: "token for the catalog", person: "catalog", foreign: true, lists: true, header: of("catalog")},
	}
	for _, person := range []string{"all", "pull", "push", "other"} {
		all = append(all, matrixIdentity{name: "token of others for " + person, person: person, foreign: true, header: of(person)})
	}
	for _, person := range matrixPeople()[1:] {
		all = append(all, matrixIdentity{name: "workload " + person, person: person, header: of("workload " + person)})
	}
	for _, bad := range badTokens() {
		all = append(all, matrixIdentity{name: bad, refused: true, header: of(bad)})
	}
	return all
}

// badTokens are names of tokens that would be for everything, or of alice, if they held.
func badTokens() []string {
	return []string{
		"token of others, expired", "token of others, of another key", "token of others, unsigned", "token of others, by the public key",
		"workload, expired", "workload, of another audience", "workload, of another key",
	}
}

// otherTokens makes the tokens of others for a policy. The key of the token service is in a file, that of the issuer at its URL.
func otherTokens(t *testing.T, p matrixPolicy, service *ecdsa.PrivateKey, file string, issuer *ecdsa.PrivateKey, url string) map[string]string {
	t.Helper()
	wrong, _ := signing(t)
	soon, past := time.Now().Add(time.Hour).Unix(), time.Now().Add(-time.Hour).Unix()
	entry := func(repository string, actions ...string) map[string]any {
		return map[string]any{"type": "repository", "name": repository, "actions": actions}
	}
	claims := func(subject string, expires int64, access ...any) map[string]any {
		return map[string]any{"sub": subject, "aud": "zot", "exp": expires, "access": access}
	}
	workload := func(subject, audience string, expires int64) map[string]any {
		return map[string]any{"iss": url, "sub": subject, "aud": audience, "exp": expires}
	}
	first, second := p.repositories[0], p.repositories[1]
	all := []any{entry(first, "pull", "push", "delete"), entry(second, "pull", "push", "delete"), entry(p.source, "pull")}
	tokens := map[string]string{
		"all":     signedBy(t, service, claims("all", soon, all...)),
		"pull":    signedBy(t, service, claims("pull", soon, entry(first, "pull"))),
		"push":    signedBy(t, service, claims("push", soon, entry(first, "pull", "push"))),
		"other":   signedBy(t, service, claims("other", soon, entry(second, "*"))),
		"catalog": signedBy(t, service, claims("catalog", soon, map[string]any{"type": "registry", "name": "catalog", "actions": []string{"*"}})),

		"token of others, expired":        signedBy(t, service, claims("all", past, all...)),
		"token of others, of another key": signedBy(t, wrong, claims("all", soon, all...)),
		"token of others, unsigned":       unsigned(t, `{"alg":"none"}`, claims("all", soon, all...)) + ".",
		"token of others, by the public key": func() string {
			public, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := unsigned(t, `{"alg":"HS256","typ":"JWT"}`, claims("all", soon, all...))
			h := hmac.New(sha256.New, public)
			h.Write([]byte(text))
			return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
		}(),

		"workload, expired":             signedBy(t, issuer, workload("alice", "zot", past)),
		"workload, of another audience": signedBy(t, issuer, workload("alice", "other", soon)),
		"workload, of another key":      signedBy(t, wrong, workload("alice", "zot", soon)),
	}
	for _, person := range matrixPeople()[1:] {
		tokens["workload "+person] = signedBy(t, issuer, workload(person, "zot", soon))
	}
	return tokens
}

// unsigned is the part of a token that is signed.
func unsigned(t *testing.T, header string, claims map[string]any) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(text)
}
