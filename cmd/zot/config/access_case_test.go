package config_test

import (
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// Patterns and names of groups are keys of the file, in whichever case; names of users are not.
func TestAccessControlInAnyCase(t *testing.T) {
	t.Parallel()
	c, _, err := config.Parse("config.json", []byte(minimal(`, "http": {"auth": {"htpasswd": {"path": "p"}}, "accessControl": {
		"groups": {"Admins": {"users": ["alice"]}, "devs": {"users": ["bob", "Carol"]}, "Ops": {"users": ["dave"]}},
		"Repositories": {"Team/**": {"Policies": [{"groups": ["admins", "Devs"], "actions": ["read"]}]}, "Infra/App": {"policies": [{"groups": ["Ops"], "actions": ["read"]}]}},
		"adminPolicy": {"groups": ["ADMINS"], "actions": ["delete"]}
	}}`)), "zot-0")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := access.Compile(*c.HTTP.Auth.Access)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		who        string
		do         access.Action
		repository string
		want       bool
	}{
		{"alice", access.Read, "team/app", true},
		{"alice", access.Delete, "team/app", true},
		{"bob", access.Read, "team/app", true},
		{"bob", access.Delete, "team/app", false},
		{"Carol", access.Read, "team/app", true},
		{"carol", access.Read, "team/app", false},
		{"dave", access.Read, "infra/app", true},
		{"dave", access.Read, "team/app", false},
	} {
		if got := rules.May(access.Identity{Name: test.who}, test.do, test.repository); got != test.want {
			t.Errorf("%s may do %v to %s: %t", test.who, test.do, test.repository, got)
		}
	}
}

func TestPatternsThatStandTwice(t *testing.T) {
	t.Parallel()
	const anybody = `{"anonymousPolicy": ["read"]}`
	for patterns, key := range map[string]string{
		`"repositories": {"team/**": ` + anybody + `, "Team/**": ` + anybody + `}`: "http.accessControl.repositories.team/**",
		`"repositories": {"team/**": ` + anybody + `}, "Team/**": ` + anybody:      "http.accessControl.Team/**",
	} {
		_, _, err := config.Parse("config.json", []byte(minimal(`, "http": {"accessControl": {`+patterns+`}}`)), "zot-0")
		if err == nil || !strings.HasPrefix(err.Error(), key+": stands twice") {
			t.Errorf("%s: %v", patterns, err)
		}
	}
}
