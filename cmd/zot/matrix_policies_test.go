package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// matrixPolicy is a section accessControl, and what it grants to whom: written down by reading COMPAT.md, section 5.
type matrixPolicy struct {
	name   string
	access func(t *testing.T) string // of the configuration; "" if it has none
	way    string                    // how people say who they are, of matrixWays; "": by password
	logins bool                      // they can, by what they send
	openid bool                      // also by a provider

	// repositories are those that each request is tried on, and source is where mounts come from. Grants are letters of what
	// each person may do to each of them: read, create, update, delete; and "!" who must not delete a digest of several tags.
	// A person is what their identities stand for. "" is nobody in particular, and nina is somebody whom no policy names.
	repositories []string
	source       string
	grants       map[string]grants
	// admins are letters of what the policy for administrators grants each person; nil where there is no accessControl, and
	// everybody is one who is let in.
	admins grants
}

// grants are letters by person.
type grants map[string]string

// people of the matrix, in the order of its tables.
func matrixPeople() []string { return []string{"", "alice", "jack", "nina", "admin"} }

// everybody are those people, and who the tokens of a policy are for.
func (p matrixPolicy) everybody() []string {
	people := matrixPeople()
	for _, identity := range matrixWays()[p.way].identities {
		if !slices.Contains(people, identity.person) {
			people = append(people, identity.person)
		}
	}
	return people
}

// examplePolicy is accessControl of zot's example as it stands in the file.
func examplePolicy(t *testing.T) string {
	t.Helper()
	file := filepath.Join("..", "..", "test", "testdata", "zot-examples", "config-policy.json")
	if c, _, err := config.Load(file); err != nil || len(c.HTTP.Auth.Access.Repositories) != 4 {
		t.Fatalf("the example has %d patterns: %v", len(c.HTTP.Auth.Access.Repositories), err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		HTTP struct{ AccessControl json.RawMessage }
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return string(c.HTTP.AccessControl)
}

// examplePolicyOfThePage is the same as zot's page shows it: patterns stand directly in accessControl.
func examplePolicyOfThePage(t *testing.T) string {
	t.Helper()
	var access map[string]json.RawMessage
	var patterns map[string]json.RawMessage
	err := json.Unmarshal([]byte(examplePolicy(t)), &access)
	if err == nil {
		err = json.Unmarshal(access["repositories"], &patterns)
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(access, "repositories")
	maps.Copy(access, patterns)
	text, err := json.Marshal(access)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func as(text string) func(*testing.T) string { return func(*testing.T) string { return text } }

// teamPolicy is rules for a team, of which nina is none, and what it takes images from.
const teamPolicy = `{
	"groups": {"devs": {"users": ["jack"]}},
	"repositories": {
		"team/**": {"policies": [{"users": ["alice"], "actions": ["read", "create", "update", "delete"]}, {"groups": ["devs"], "actions": ["read", "create"]}], "defaultPolicy": ["read"]},
		"stock/*": {"policies": [{"users": ["alice"], "groups": ["devs"], "actions": ["read"]}]}},
	"adminPolicy": {"users": ["admin"], "actions": ["read", "create", "update", "delete"]}}`

// matrixPolicies are all policies of the matrix.
func matrixPolicies() []matrixPolicy {
	example := map[string]grants{
		"other/app":   {"": "", "alice": "rcud", "jack": "rcu", "nina": "rc", "admin": "rcud"}, // "**": group2 has alice, group1 jack
		"tmp/app":     {"": "", "alice": "rcu", "jack": "rcu", "nina": "rcu", "admin": "rcud"}, // the longer pattern alone decides
		"infra/app":   {"": "", "alice": "rcud", "jack": "r", "nina": "r", "admin": "rcud"},
		"infra/base":  {"": "", "alice": "rcud", "jack": "r", "nina": "r", "admin": "rcud"},
		"repos2/repo": {"": "", "alice": "r", "jack": "r", "nina": "r", "admin": "rcud"},
	}
	return []matrixPolicy{
		{
			name: "config-policy.json", access: examplePolicy, logins: true,
			repositories: []string{"other/app", "tmp/app", "infra/app", "repos2/repo"}, source: "infra/base", grants: example, admins: grants{"admin": "rcud"},
		},
		{
			name: "config-policy.json without repositories", access: examplePolicyOfThePage, logins: true,
			repositories: []string{"infra/app", "other/app"}, source: "infra/base", grants: example, admins: grants{"admin": "rcud"},
		},
		{
			name: "no accessControl", access: as(""), logins: true,
			repositories: []string{"team/app"}, source: "team/base",
			grants: map[string]grants{
				"team/app":  {"": "", "alice": "rcud", "jack": "rcud", "nina": "rcud", "admin": "rcud"},
				"team/base": {"": "", "alice": "rcud", "jack": "rcud", "nina": "rcud", "admin": "rcud"},
			},
		},
		{
			name: "no logins, no accessControl", access: as(""),
			repositories: []string{"team/app"}, source: "team/base",
			grants: map[string]grants{"team/app": {"": "rcud"}, "team/base": {"": "rcud"}},
		},
		{
			name: "no logins, anonymousPolicy", access: as(`{"repositories": {"**": {"anonymousPolicy": ["read", "create"]}, "private/*": {}}}`),
			repositories: []string{"team/app", "private/app"}, source: "private/base",
			grants: map[string]grants{"team/app": {"": "rc"}, "private/app": {"": ""}, "private/base": {"": ""}}, admins: grants{},
		},
		{
			// What is granted to nobody in particular is not granted to those who give their names.
			name: "only anonymousPolicy", access: as(`{"**": {"anonymousPolicy": ["read", "create", "update", "delete"]}}`), logins: true,
			repositories: []string{"team/app"}, source: "team/base",
			grants: map[string]grants{
				"team/app":  {"": "rcud", "alice": "", "jack": "", "nina": "", "admin": ""},
				"team/base": {"": "rcud", "alice": "", "jack": "", "nina": "", "admin": ""},
			},
			admins: grants{},
		},
		{
			name: "groups", logins: true,
			access: as(`{
				"groups": {"Devs": {"users": ["jack"]}, "Fixers": {"users": ["nina"]}, "Ops": {"users": ["admin"]}},
				"repositories": {"team/**": {"policies": [
					{"groups": ["Devs"], "actions": ["read", "create"]}, {"groups": ["Fixers"], "actions": ["read", "update"]},
					{"users": ["alice"], "actions": ["read", "create", "update", "delete", "detectManifestCollision"]}]},
					"stock/*": {"policies": [{"groups": ["Fixers"], "users": ["alice"], "actions": ["read"]}]}},
				"adminPolicy": {"groups": ["Ops"], "actions": ["delete"]}}`),
			repositories: []string{"team/app"}, source: "stock/base",
			grants: map[string]grants{
				"team/app":   {"": "", "alice": "rcud!", "jack": "rc", "nina": "ru", "admin": "d"},
				"stock/base": {"": "", "alice": "r", "jack": "", "nina": "r", "admin": "d"},
			},
			admins: grants{"admin": "d"},
		},
		{
			name: "adminPolicy alone", access: as(`{"adminPolicy": {"users": ["admin"], "actions": ["read", "create", "update", "delete"]}}`), logins: true,
			repositories: []string{"team/app"}, source: "team/base",
			grants: map[string]grants{
				"team/app":  {"": "", "alice": "", "jack": "", "nina": "", "admin": "rcud"},
				"team/base": {"": "", "alice": "", "jack": "", "nina": "", "admin": "rcud"},
			},
			admins: grants{"admin": "rcud"},
		},
		{
			name: "public and private", logins: true, openid: true,
			access: as(`{"repositories": {
				"public/**": {"anonymousPolicy": ["read"], "defaultPolicy": ["read", "create"], "policies": [{"users": ["alice"], "actions": ["read", "create", "update", "delete"]}]},
				"public/sec*": {},
				"private/**": {"policies": [{"users": ["alice"], "groups": ["private"], "actions": ["read", "create"]}]}},
				"groups": {"private": {"users": ["jack"]}}, "adminPolicy": {"users": ["admin"], "actions": ["read", "delete"]}}`),
			repositories: []string{"private/app", "public/app", "public/secret"}, source: "private/base",
			grants: map[string]grants{
				"private/app":   {"": "", "alice": "rc", "jack": "rc", "nina": "", "admin": "rd"},
				"private/base":  {"": "", "alice": "rc", "jack": "rc", "nina": "", "admin": "rd"},
				"public/app":    {"": "r", "alice": "rcud", "jack": "rc", "nina": "rc", "admin": "rcd"},
				"public/secret": {"": "", "alice": "", "jack": "", "nina": "", "admin": "rd"}, // longer than public/**
			},
			admins: grants{"admin": "rd"},
		},
		{
			name: "certificates", way: "certificates", logins: true, access: as(teamPolicy),
			repositories: []string{"team/app"}, source: "stock/base",
			grants: map[string]grants{
				"team/app":   {"": "", "alice": "rcud", "jack": "rc", "nina": "r", "admin": "rcud"},
				"stock/base": {"": "", "alice": "r", "jack": "r", "nina": "", "admin": "rcud"},
			},
			admins: grants{"admin": "rcud"},
		},
		{
			name: "certificates and passwords", way: "certificates and passwords", logins: true,
			access: as(`{"repositories": {
				"public/**": {"anonymousPolicy": ["read"], "defaultPolicy": ["read", "create"], "policies": [{"users": ["alice"], "actions": ["read", "create", "update", "delete"]}]},
				"private/**": {"policies": [{"users": ["alice"], "groups": ["private"], "actions": ["read", "create"]}]}},
				"groups": {"private": {"users": ["jack"]}}, "adminPolicy": {"users": ["admin"], "actions": ["read", "delete"]}}`),
			repositories: []string{"private/app", "public/app"}, source: "private/base",
			grants: map[string]grants{
				"private/app":  {"": "", "alice": "rc", "jack": "rc", "nina": "", "admin": "rd"},
				"private/base": {"": "", "alice": "rc", "jack": "rc", "nina": "", "admin": "rd"},
				"public/app":   {"": "r", "alice": "rcud", "jack": "rc", "nina": "rc", "admin": "rcd"},
			},
			admins: grants{"admin": "rd"},
		},
		{
			// A certificate says who somebody is also where nobody can log in.
			name: "certificates or nothing", way: "certificates or nothing",
			access: as(`{"repositories": {
				"public/**": {"anonymousPolicy": ["read"], "policies": [{"users": ["alice"], "actions": ["read", "create", "update", "delete"]}, {"groups": ["devs"], "actions": ["read", "create"]}]},
				"private/*": {"defaultPolicy": ["read"]}},
				"groups": {"devs": {"users": ["jack"]}}, "adminPolicy": {"users": ["admin"], "actions": ["delete"]}}`),
			repositories: []string{"public/app"}, source: "private/base",
			grants: map[string]grants{
				"public/app":   {"": "r", "alice": "rcud", "jack": "rc", "nina": "", "admin": "d"},
				"private/base": {"": "", "alice": "r", "jack": "r", "nina": "r", "admin": "rd"},
			},
			admins: grants{"admin": "d"},
		},
		{
			// What a token service says decides alone; accessControl is for workloads.
			name: "tokens of others", way: "tokens of others", logins: true, access: as(teamPolicy),
			repositories: []string{"team/app", "team/other"}, source: "stock/base",
			grants: map[string]grants{
				"team/app":   {"": "", "alice": "rcud", "jack": "rc", "nina": "r", "admin": "rcud", "all": "rcud", "pull": "r", "push": "rcu", "other": "", "catalog": ""},
				"team/other": {"": "", "alice": "rcud", "jack": "rc", "nina": "r", "admin": "rcud", "all": "rcud", "pull": "", "push": "", "other": "rcud", "catalog": ""},
				"stock/base": {"": "", "alice": "r", "jack": "r", "nina": "", "admin": "rcud", "all": "r", "pull": "", "push": "", "other": "", "catalog": ""},
			},
			admins: grants{"admin": "rcud"},
		},
	}
}

// opens reports whether a policy grants anything to those who give no name.
func (p matrixPolicy) opens() bool {
	for _, g := range p.grants {
		if g[""] != "" {
			return true
		}
	}
	return !p.logins
}

// section is the policy in the section "http" of a configuration. It makes what people say who they are by.
func (m *matrix) section(passwords string) string {
	t, p, way := m.t, m.policy, matrixWays()[m.policy.way]
	t.Helper()
	var text strings.Builder
	var methods []string
	if way.passwords || way.tokens { // which are off beside tokens
		methods = append(methods, fmt.Sprintf(`"htpasswd": {"path": %q}`, passwords))
	}
	if way.keys || way.tokens {
		methods = append(methods, `"apikey": true`)
	}
	if way.tokens {
		service, file := signing(t)
		issuer, url := issuing(t)
		m.others = otherTokens(t, p, service, file, issuer, url)
		methods = append(methods, fmt.Sprintf(`"bearer": {"realm": "https://auth.example/token", "service": "zot", "cert": %q,
			"oidc": [{"issuer": %q, "audiences": ["zot"], "claimMapping": {"username": "claims.sub"}}]}`, file, url))
	}
	if p.openid {
		provider, _ := providerOf(t)
		methods = append(methods, fmt.Sprintf(`"openid": {"providers": {"oidc": {"issuer": %q, "clientid": %q, "clientsecret": %q, "scopes": ["openid", "email"]}}}`,
			provider.Issuer(), provider.ClientID, provider.ClientSecret))
	}
	if p.logins {
		fmt.Fprintf(&text, `, "auth": {%s}`, strings.Join(methods, ", "))
	}
	if way.shows {
		files, who, server := tlsFiles(t), newAuthority(t), pair(t, 1)
		ca := filepath.Join(t.TempDir(), "ca")
		server.in(t, files)
		put(t, ca, who.pem)
		fmt.Fprintf(&text, `, "tls": {"cert": %q, "key": %q, "cacert": %q}`, files.Cert, files.Key, ca)
		m.clients[""] = m.keeping(trusting(t, server, nil))
		for _, name := range matrixPeople()[1:] {
			m.clients[name] = m.keeping(showing(t, server, who.client(t, name, nil)))
		}
	}
	if access := p.access(t); access != "" {
		text.WriteString(`, "accessControl": ` + access)
	}
	return text.String()
}

// Each policy says for each of its repositories what each person may do.
func TestMatrixPoliciesAreWhole(t *testing.T) {
	t.Parallel()
	for _, p := range matrixPolicies() {
		people := p.everybody()
		if !p.logins && !matrixWays()[p.way].shows {
			people = people[:1] // whatever they send
		}
		for _, repository := range append([]string{p.source}, p.repositories...) {
			for _, person := range people {
				if _, said := p.grants[repository][person]; !said {
					t.Errorf("%s does not say what %q may do to %s", p.name, person, repository)
				}
			}
		}
	}
}
