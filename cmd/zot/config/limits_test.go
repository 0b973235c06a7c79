package config_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	file := `{
		"storage": {"rootDirectory": "/var/lib/zot", "maxRepos": 20},
		"cluster": {"quotas": {"team": "500GiB", "": "1.5 TB", "team/app": 12, "B": "", "a-b": "10kb"}}
	}`
	c, notes, err := config.Parse("x.json", []byte(strings.Replace(file, `"B": "", `, "", 1)), "zot-0")
	want := []config.Quota{{Prefix: "", Bytes: 1_500_000_000_000}, {Prefix: "a-b", Bytes: 10_000}, {Prefix: "team", Bytes: 500 << 30}, {Prefix: "team/app", Bytes: 12}}
	if err != nil || len(notes) > 0 || c.Storage.MaxRepositories != 20 || !reflect.DeepEqual(c.Cluster.Quotas, want) {
		t.Errorf("%v %v %d %+v", err, notes, c.Storage.MaxRepositories, c.Cluster.Quotas)
	}
	if !c.Cluster.Alone {
		t.Error("a section with quotas alone makes no cluster of several")
	}
	c, _, err = config.Parse("x.yaml", []byte("storage: {rootDirectory: /var/lib/zot}\ncluster:\n  node: zot-0\n  quotas:\n    \"\": 1KiB\n"), "zot-0")
	if err != nil || c.Cluster.Alone || !reflect.DeepEqual(c.Cluster.Quotas, []config.Quota{{Prefix: "", Bytes: 1024}}) {
		t.Errorf("%v %+v", err, c.Cluster)
	}
}

func TestMaxReposOfASubPath(t *testing.T) {
	t.Parallel()
	_, notes, err := config.Parse("x.json", []byte(minimalStorage(`"subPaths": {"/a": {"rootDirectory": "/srv/a", "maxRepos": 3}}`)), "zot-0")
	said := slices.ContainsFunc(notes, func(n config.Note) bool {
		return n.Key == "storage.subPaths./a.maxRepos" && strings.Contains(n.Text, "for all stores together")
	})
	if err != nil || !said {
		t.Errorf("%v %v", err, notes)
	}
}

func TestLimitsOfTheExample(t *testing.T) {
	t.Parallel()
	c, notes, err := config.Load("../../../deploy/examples/limits.json")
	if err != nil || len(notes) > 0 || !c.Cluster.Alone || len(c.Cluster.Quotas) != 3 || c.Storage.MaxRepositories == 0 {
		t.Errorf("%v %v %+v", err, notes, c)
	}
}

func TestLimitsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for quotas, want := range map[string]string{
		`"x"`:                        `cluster.quotas: "x" is no section; write it as {"...": ...}`,
		`{"team/": "1GiB"}`:          `cluster.quotas.team/: "team/" is neither a repository's name nor the beginning of one, up to a slash; write "team", which is that repository and all below it`,
		`{"team/**": "1GiB"}`:        `; write "team", which is that repository and all below it`,
		`{"**": "1GiB"}`:             `; "" is all repositories`,
		`{"Team": "1GiB"}`:           `; write "team" for team and all below it; "" is all repositories`,
		`{"": "0"}`:                  `cluster.quotas."": "0" is less than one byte: leave the quota out if none is meant; `,
		`{"team": -1}`:               `"-1" is less than one byte`,
		`{"team": "5G"}`:             `cluster.quotas.team: "5G" has no unit that is known; write it as "500GiB", in units of 1024, or "500GB", of 1000, or as a number of bytes`,
		`{"team": "GiB"}`:            `"GiB" is no size`,
		`{"team": "1 2GiB"}`:         `"1 2GiB" is no size`,
		`{"team": "9000PiB"}`:        `"9000PiB" is too much`,
		`{"team": true}`:             `true is no size`,
		`{"team": "1B", "team": 12}`: `cluster.quotas.team: stands twice; remove one of them`,
	} {
		_, _, err := config.Parse("x.json", []byte(minimal(`, "cluster": {"quotas": `+quotas+`}`)), "zot-0")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", quotas, err, want)
		}
	}
	_, _, err := config.Parse("x.json", []byte(minimalStorage(`"maxRepos": -1`)), "zot-0")
	if want := "storage.maxRepos: -1 is no number of repositories; give 0 for any number"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	_, notes, err := config.Parse("x.json", []byte(minimal(`, "cluster": {"quotas": {"": "1GiB", "a": "1GiB", "a/b": "2GiB", "ab": "1MiB"}}`)), "zot-0")
	text := ""
	for _, n := range notes {
		text += n.Key + " " + n.Text + "\n"
	}
	want := "cluster.quotas.a says nothing: no more than the quota of \"\" holds for it too\n" +
		"cluster.quotas.a/b says nothing: no more than the quota of \"\" holds for it too\n" +
		"cluster.quotas.a/b says nothing: no more than the quota of \"a\" holds for it too\n"
	if err != nil || text != want {
		t.Errorf("%v\n%s", err, text)
	}
}
