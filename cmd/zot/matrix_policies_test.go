package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// matrixPolicy is a section accessControl, and what it grants to whom: written down by reading COMPAT.md, section 5.
type matrixPolicy struct {
	name   string
	access func(t *testing.T) string // of the configuration; "" if it has none
	logins bool                      // people can say who they are
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

// section is the policy in the section "http" of a configuration.
func (p matrixPolicy) section(t *testing.T, passwords string) (text string) {
	t.Helper()
	if p.logins {
		text = fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "apikey": true`, passwords)
		if p.openid {
			provider, _ := providerOf(t)
			text += fmt.Sprintf(`, "openid": {"providers": {"oidc": {"issuer": %q, "clientid": %q, "clientsecret": %q, "scopes": ["openid", "email"]}}}`,
				provider.Issuer(), provider.ClientID, provider.ClientSecret)
		}
		text += "}"
	}
	if access := p.access(t); access != "" {
		text += `, "accessControl": ` + access
	}
	return text
}

// Each policy says for each of its repositories what each person may do.
func TestMatrixPoliciesAreWhole(t *testing.T) {
	t.Parallel()
	for _, p := range matrixPolicies() {
		people := matrixPeople()
		if !p.logins {
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
