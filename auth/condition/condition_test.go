package condition_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth/condition"
)

func compiler(t testing.TB) *condition.Compiler {
	t.Helper()
	c, err := condition.NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// question is one with everything in it.
func question() condition.Question {
	return condition.Question{
		User: "alice", Groups: []string{"devs", "ops"}, Admin: true, Action: "update", Repository: "team/app",
		Request: &condition.Request{
			Time: time.Date(2026, 8, 3, 9, 30, 0, 0, time.UTC), Method: "PUT", UserAgent: "docker/28", Tag: "v1", Client: "10.1.2.3", Forwarded: []string{"10.1.2.3"},
			TLS: true, Version: "1.3", Claims: map[string]any{"sub": "s", "admin": true, "level": 3.0, "groups": []any{"a", "b"}},
		},
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	for expression, want := range map[string]string{
		`true`:  "true",
		`false`: "false",
		`req.time < timestamp("2026-08-03T10:00:00Z") && req.time.getDayOfWeek() == 1 && req.time.getHours() >= 8`: "true",
		`req.method == "PUT" && req.action == "update"`:                                                            "true",
		`req.userAgent.startsWith("docker/")`:                                                                      "true",
		`req.repository.matches("^team/")`:                                                                         "true",
		`req.tag.startsWith("v") && req.reference == req.tag && req.referenceType == "tag" && req.digest == ""`:    "true",
		`req.user.username == "alice" && "ops" in req.user.groups && !req.auth.anonymous && req.auth.admin`:        "true",
		`req.repository.startsWith(req.user.username + "/")`:                                                       "false",
		`cidr("10.0.0.0/8").containsIP(req.client.ip)`:                                                             "true",
		`cidr("10.2.0.0/16").containsIP(ip(req.client.ip))`:                                                        "false",
		`size(req.client.forwardedFor) == 1 && req.client.forwardedFor[0] == req.client.ip`:                        "true",
		`req.tls && req.user == "alice"`:                                                                           "true",
		`req.tls.enabled && req.tls.version == "1.3"`:                                                              "true",
		`req.claims.admin`: "true",
		`req.claims.level > 2 && req.claims.groups.exists(g, g == "b")`:   "true",
		`has(req.claims.email) && req.claims.email.endsWith("@x")`:        "false",
		`"sub" in req.claims && req.claims["sub"] == "s"`:                 "true",
		`req.claims.email == "x"`:                                         "no such key",
		`req.claims.sub`:                                                  "not bool",
		`req.client.forwardedFor[7] == "x"`:                               "index out of bounds",
		`1 / (size(req.tag) - 2) == 1`:                                    "division by zero",
		`cidr("10.0.0.0/8").containsIP(req.tag)`:                          "parse",
		`req.claims.groups.all(a, req.claims.groups.all(b, a + b != ""))`: "true",
	} {
		one, err := c.Condition(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		holds, err := one.Holds(question())
		got := map[bool]string{true: "true", false: "false"}[holds]
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || err != nil && holds {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
		if _, err := one.Holds(condition.Question{}); err == nil {
			t.Errorf("%s: told of a request of which nothing is known", expression)
		}
	}
}

func TestNoConditions(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	for expression, want := range map[string]string{
		``:                           "Syntax error",
		`req.`:                       "Syntax error",
		`req.tag`:                    "is string, and not bool",
		`1 + 1`:                      "is int, and not bool",
		`req.repo == "a"`:            "undeclared reference",
		`req.user.name == "a"`:       "does not support field selection",
		`req.tag == 1`:               "no matching overload",
		`request.tag == "a"`:         "undeclared reference",
		`env("HOME") == ""`:          "undeclared reference",
		`claims.sub == "a"`:          "undeclared reference",
		strings.Repeat("(", 1000):    "recursion",
		strings.Repeat(" ", 8<<10+1): "size exceeds",
	} {
		if _, err := c.Condition(expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %s", expression, err, want)
		}
	}
}

// What costs too much is no yes, and ends soon.
func TestCost(t *testing.T) {
	t.Parallel()
	q := question()
	many := make([]any, 2000)
	for i := range many {
		many[i] = "x"
	}
	q.Request.Claims["groups"] = many
	one, err := compiler(t).Condition(`req.claims.groups.all(a, req.claims.groups.all(b, req.claims.groups.all(c, a == b && b == c)))`)
	if err != nil {
		t.Fatal(err)
	}
	if holds, err := one.Holds(q); holds || err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("%t, %v", holds, err)
	}
}

func TestMapping(t *testing.T) {
	t.Parallel()
	claims := map[string]any{"iss": "https://issuer", "sub": "s", "email": "ann@x.org", "owner": "o", "teams": []any{"a", "b"}, "n": 3.0}
	for name, test := range map[string]struct {
		mapping condition.Mapping
		want    string // name, groups, or an error
	}{
		"nothing said":         {condition.Mapping{}, "https://issuer/s []"},
		"an expression":        {condition.Mapping{Username: `claims.email.split("@")[0]`, Groups: `claims.teams`}, "ann [a b]"},
		"groups that are made": {condition.Mapping{Username: "claims.sub", Groups: `claims.teams.map(t, "team-" + t)`}, "s [team-a team-b]"},
		"variables": {
			condition.Mapping{Variables: []condition.Variable{{"o", "claims.owner"}, {"both", `vars.o + "/" + claims.sub`}}, Username: "vars.both", Groups: `["ci", vars.o]`},
			"o/s [ci o]",
		},
		"a validation":               {condition.Mapping{Validations: []condition.Validation{{`claims.owner == "o"`, ""}}}, "https://issuer/s []"},
		"one that is false":          {condition.Mapping{Validations: []condition.Validation{{`claims.owner == "p"`, "not of p"}}}, "not of p"},
		"one that cannot be told":    {condition.Mapping{Validations: []condition.Validation{{`claims.none == "p"`, ""}}}, "no such key"},
		"one that is no bool":        {condition.Mapping{Validations: []condition.Validation{{`claims.sub`, "m"}}}, "is false"},
		"no name":                    {condition.Mapping{Username: `claims.none`}, "no such key"},
		"an empty name":              {condition.Mapping{Username: `""`}, "no text"},
		"a number for a name":        {condition.Mapping{Username: `claims.n`}, "no text"},
		"a long name":                {condition.Mapping{Username: `"` + strings.Repeat("n", 513) + `"`}, "no text"},
		"groups that are none":       {condition.Mapping{Groups: `claims.sub`}, "no list"},
		"a group that is a number":   {condition.Mapping{Groups: `[claims.n]`}, "no 500 texts"},
		"a slip in a variable":       {condition.Mapping{Variables: []condition.Variable{{"a", "claim.x"}}}, "variables[0].expression: "},
		"a variable without a name":  {condition.Mapping{Variables: []condition.Variable{{"", "claims.x"}}}, "variables[0].name: is missing"},
		"a slip in a validation":     {condition.Mapping{Validations: []condition.Validation{{"1", ""}}}, "validations[0].expression: is int, and not bool"},
		"a slip in the name":         {condition.Mapping{Username: "claims."}, "username: "},
		"a name that is a list":      {condition.Mapping{Username: "[1]"}, "username: is list(int), and not string"},
		"groups that are one number": {condition.Mapping{Groups: "1"}, "groups: is int, and not list(dyn)"},
	} {
		m, err := compiler(t).Mapper(test.mapping)
		got := ""
		if err == nil {
			var who string
			var groups []string
			who, groups, err = m.Map(claims)
			got = who + " [" + strings.Join(groups, " ") + "]"
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// FuzzCondition has whatever compiles end without a panic, and without an answer where there is an error.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		`req.tag == "v1"`, `req.claims.groups.exists(g, g == "a")`, `cidr("10.0.0.0/8").containsIP(req.client.ip)`, `req.time.getHours() > 8`,
		`[1,2].map(x, x * 9223372036854775807)[0] > 1`, `req.repository.matches("(a*)*b")`, `"%s %d".format([req.tag, 1]) == ""`, `req.claims.x.y.z`, `{1: 2}[3] == 4`,
	} {
		f.Add(seed)
	}
	c := compiler(f)
	f.Fuzz(func(t *testing.T, expression string) {
		if one, err := c.Condition(expression); err == nil {
			if holds, err := one.Holds(question()); holds && err != nil {
				t.Errorf("%q: true, and %v", expression, err)
			}
		}
		if m, err := c.Mapper(condition.Mapping{Username: expression, Groups: expression, Variables: []condition.Variable{{Name: "a", Expression: expression}}}); err == nil {
			if name, _, err := m.Map(question().Request.Claims); err == nil && name == "" {
				t.Errorf("%q names nobody", expression)
			}
		}
	})
}

func BenchmarkHolds(b *testing.B) {
	one, err := compiler(b).Condition(`cidr("10.0.0.0/8").containsIP(req.client.ip) && req.tag.startsWith("v")`)
	if err != nil {
		b.Fatal(err)
	}
	q := question()
	b.ReportAllocs()
	for b.Loop() {
		if holds, err := one.Holds(q); !holds {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompiler(b *testing.B) {
	for b.Loop() {
		compiler(b)
	}
}
