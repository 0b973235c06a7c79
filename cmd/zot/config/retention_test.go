package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// kept is the retention of a file with those keys in its "storage".
func kept(t *testing.T, name, file string) retention.Config {
	t.Helper()
	c, _, err := config.Parse(name, []byte(file), "zot-0")
	if err != nil {
		t.Fatal(err)
	}
	return c.Storage.Retention
}

func TestRetention(t *testing.T) {
	t.Parallel()
	week, month := new(168*time.Hour), new(720*time.Hour)
	every := retention.Rules{PulledWithin: month, PushedWithin: month, MostRecentlyPushed: 10, MostRecentlyPulled: 11}
	for name, test := range map[string]struct {
		keys string
		want retention.Config
	}{
		"none":        {`"gc": true`, retention.Config{}},
		"defaults":    {`"gcDelay": "2h", "retention": {"policies": [{"repositories": ["**"]}]}`, retention.Config{Delay: 2 * time.Hour, Policies: []retention.Policy{{Repositories: []string{"**"}, DeleteUntagged: true}}}},
		"no policies": {`"retention": {"dryRun": true, "delay": "24h"}`, retention.Config{DryRun: true, Delay: 24 * time.Hour}},
		"in any case": {`"RETENTION": {"Policies": [{"Repositories": "a, b/*", "KeepTags": {"Patterns": "v.*"}}]}`, retention.Config{Delay: time.Hour, Policies: []retention.Policy{{Repositories: []string{"a", "b/*"}, DeleteUntagged: true, KeepTags: []retention.KeepTags{{Patterns: []string{"v.*"}}}}}}},
		"every key": {
			`"retention": {"dryRun": "true", "delay": "24h", "policies": [
				{"repositories": ["infra/*", "prod/*"], "deleteReferrers": false, "keepTags": [{"patterns": ["v2.*", ".*-prod"]}, {"patterns": ["v3.*"], "pulledWithin": "168h"}]},
				{"repositories": ["tmp/**"], "deleteReferrers": true, "deleteUntagged": false},
				{"repositories": ["**"], "keepTags": [{"mostRecentlyPushedCount": 10, "mostRecentlyPulledCount": "11", "pulledWithin": "720h", "pushedWithin": "720h"}],
				 "keepUntagged": {"mostRecentlyPushedCount": 10, "mostRecentlyPulledCount": 11, "pulledWithin": "720h", "pushedWithin": "720h"}}]}`,
			retention.Config{DryRun: true, Delay: 24 * time.Hour, Policies: []retention.Policy{
				{Repositories: []string{"infra/*", "prod/*"}, DeleteUntagged: true, KeepTags: []retention.KeepTags{{Patterns: []string{"v2.*", ".*-prod"}}, {Patterns: []string{"v3.*"}, Rules: retention.Rules{PulledWithin: week}}}},
				{Repositories: []string{"tmp/**"}, DeleteReferrers: true},
				{Repositories: []string{"**"}, DeleteUntagged: true, KeepTags: []retention.KeepTags{{Rules: every}}, KeepUntagged: every},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := kept(t, "config.json", minimalStorage(test.keys))
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, test.want)
			}
			if _, err := retention.Compile(got); err != nil {
				t.Error(err)
			}
		})
	}
}

// The same policies in the three languages.
func TestRetentionInAnyLanguage(t *testing.T) {
	t.Parallel()
	want := kept(t, "c.json", minimalStorage(`"retention": {"delay": "24h", "policies": [{"repositories": ["a/*"], "deleteReferrers": true, "keepTags": [{"patterns": ["^v"], "pushedWithin": "720h"}, {"mostRecentlyPulledCount": 3}], "keepUntagged": {"pulledWithin": "1h"}}]}`))
	for name, file := range map[string]string{
		"c.yaml": `
storage:
  rootDirectory: /var/lib/zot
  retention:
    delay: 24h
    policies:
      - repositories: [a/*]
        deleteReferrers: true
        keepTags:
          - patterns: ["^v"]
            pushedWithin: 720h
          - mostRecentlyPulledCount: 3
        keepUntagged:
          pulledWithin: 1h
`,
		"c.toml": `
[storage]
rootDirectory = "/var/lib/zot"
[storage.retention]
delay = "24h"
[[storage.retention.policies]]
repositories = ["a/*"]
deleteReferrers = true
keepUntagged = {pulledWithin = "1h"}
[[storage.retention.policies.keepTags]]
patterns = ["^v"]
pushedWithin = "720h"
[[storage.retention.policies.keepTags]]
mostRecentlyPulledCount = 3
`,
	} {
		if got := kept(t, name, file); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, got, want)
		}
	}
}

// Every problem and note, in the words that people see.
func TestRetentionProblems(t *testing.T) {
	t.Parallel()
	policy := func(keys string) string { return `"retention": {"policies": [{"repositories": ["**"], ` + keys + `}]}` }
	var b strings.Builder
	for _, test := range []struct{ name, keys string }{
		{"kinds", `"retention": {"dryRun": "perhaps", "delay": "1d", "policies": [1, {"repositories": {}}]}`},
		{"no list", `"retention": {"policies": "all"}`},
		{"unknown keys", `"retention": {"dryrun": true, "policy": [], "policies": [{"repository": ["**"], "keepTags": [{"pattern": [".*"]}], "keepUntagged": {"patterns": [".*"]}}]}`},
		{"globs", `"retention": {"policies": [{"repositories": ["a", "[", "/infra/*"]}]}`},
		{"no repositories", `"retention": {"policies": [{"keepTags": [{"patterns": [".*"]}]}]}`},
		{"patterns", policy(`"keepTags": [{"patterns": ["v1.*", "*-prod", "("]}, {"patterns": ["a**"]}]`)},
		{"times", policy(`"keepTags": [{"pushedWithin": "30d", "pulledWithin": "-1h"}, {"pulledWithin": "0s"}, {"pushedWithin": 300}], "keepUntagged": {"pushedWithin": "soon"}`)},
		{"numbers", policy(`"keepTags": [{"mostRecentlyPushedCount": -1, "mostRecentlyPulledCount": "ten"}], "keepUntagged": {"mostRecentlyPulledCount": 2.5}`)},
		{"untagged are kept", policy(`"deleteUntagged": false, "keepUntagged": {"pulledWithin": "1h"}`)},
		{"delay below zero", `"retention": {"delay": "-1s"}`},
		{"gc is off", `"gc": false, ` + policy(`"deleteReferrers": true`)},
		{"below other paths", `"subPaths": {"/a": {"retention": {"policies": [{"repositories": ["x"], "keepTag": []}]}}}, ` + policy(`"deleteReferrers": true`)},
	} {
		_, notes, err := config.Parse("config.json", []byte(minimalStorage(test.keys)), "zot-0")
		fmt.Fprintf(&b, "== %s\n", test.name)
		for _, n := range notes {
			fmt.Fprintf(&b, "note %s: %s\n", n.Key, n.Text)
		}
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	golden(t, "retention.golden", b.String())
}

// The example that the documentation names is one.
func TestRetentionExample(t *testing.T) {
	t.Parallel()
	c, notes, err := config.Load("../../../deploy/examples/retention.json")
	if err != nil || len(notes) > 0 || len(c.Storage.Retention.Policies) != 3 || !c.Storage.Retention.DryRun {
		t.Errorf("%+v, %v, %v", c.Storage.Retention, notes, err)
	}
}

// What is read is what can be judged by.
func FuzzRetention(f *testing.F) {
	f.Add(`{"dryRun": true, "delay": "1h", "policies": [{"repositories": ["a/**", "{b,c}"], "keepTags": [{"patterns": ["^v\\d+$"], "pulledWithin": 1e9}]}]}`)
	f.Add(`{"policies": [{"repositories": "[a-", "keepTags": {"patterns": "(?i", "mostRecentlyPushedCount": -1}, "keepUntagged": {"pushedWithin": "-1h"}}]}`)
	f.Fuzz(func(t *testing.T, section string) {
		c, _, err := config.Parse("c.json", []byte(minimalStorage(`"retention": `+section)), "zot-0")
		if err != nil {
			return
		}
		if _, err := retention.Compile(c.Storage.Retention); err != nil {
			t.Errorf("accepted as %+v: %v", c.Storage.Retention, err)
		}
	})
}
