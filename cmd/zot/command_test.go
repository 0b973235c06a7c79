package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
)

// update makes golden write what it would compare with.
var update = flag.Bool("update", false, "rewrite golden files") //nolint:gochecknoglobals // a flag of the test binary

// called is what became of a command in this process.
type called struct {
	code           int
	stdout, stderr string
}

func call(args ...string) called {
	var stdout, stderr bytes.Buffer
	code := execute(args, surroundings{stdout: &stdout, stderr: &stderr, version: "v1.2.3"})
	return called{code, stdout.String(), stderr.String()}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	refused := serveBoard(t, &board{err: errors.New("no quorum would remain")})
	none := configIn(t, "/nowhere", "")
	problems := configIn(t, "/nowhere", `, "htpp": {}, "log": {"level": "loud"}`)
	for name, test := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string // begin so
	}{
		"nothing":              {nil, 0, "zot is an OCI registry", ""},
		"help has exit codes":  {[]string{"--help"}, 0, "zot is an OCI registry. Any node of a cluster serves any request; a single node is a cluster of one.\n\nExit codes:\n  0  done", ""},
		"version":              {[]string{"version"}, 0, `{"version":"v1.2.3","distribution-spec":"1.1.1","commit":"`, ""},
		"--version":            {[]string{"--version"}, 0, `{"version":"v1.2.3"`, ""},
		"-v":                   {[]string{"-v"}, 0, `{"version":"v1.2.3"`, ""},
		"unknown command":      {[]string{"sing"}, 2, "", "zot: unknown command \"sing\" for \"zot\"\nRun 'zot --help' for usage."},
		"unknown flag":         {[]string{"cluster", "status", "--xml"}, 2, "", "zot: unknown flag: --xml\nRun 'zot cluster status --help' for usage."},
		"serve what":           {[]string{"serve"}, 2, "", "zot: accepts 1 arg(s), received 0"},
		"serve nothing":        {[]string{"serve", "/nowhere/config.json"}, 1, "", "zot: /nowhere/config.json: read the configuration: open /nowhere/config.json: no such file"},
		"serve problems":       {[]string{"serve", problems}, 1, "", "zot: " + problems + ": 2 problems\n  htpp: unknown key; did you mean \"http\"?\n  log.level: \"loud\" is not known;"},
		"cluster":              {[]string{"cluster"}, 0, "look after the cluster", ""},
		"remove whom":          {[]string{"cluster", "remove"}, 2, "", "zot: accepts 1 arg(s), received 0"},
		"no configuration":     {[]string{"cluster", "status", "--config", "/nowhere/config.json"}, 1, "", "zot: find the node through /nowhere/config.json (say --config FILE or set ZOT_CONFIG): read the configuration"},
		"no node":              {[]string{"cluster", "status", "--config", none}, 1, "", "zot: no node runs at /nowhere/admin.sock: start it with 'zot serve " + none + "', or name"},
		"a file with problems": {[]string{"cluster", "status", "--config", problems}, 1, "", "zot: no node runs at /nowhere/admin.sock"},
		"refused":              {[]string{"cluster", "remove", "zot-1", "--config", refused}, 1, "", "zot: no quorum would remain\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := call(test.args...)
			if got.code != test.code || !strings.HasPrefix(got.stdout, test.stdout) || !strings.HasPrefix(got.stderr, test.stderr) || (test.stderr == "") != (got.stderr == "") {
				t.Errorf("exit code %d, want %d; stdout:\n%s\nstderr:\n%s", got.code, test.code, got.stdout, got.stderr)
			}
		})
	}
}

func TestStatusCommand(t *testing.T) {
	t.Parallel()
	file := serveBoard(t, &board{})
	got := call("cluster", "status", "--json", "--config", file)
	var s clusterStatus
	if err := json.Unmarshal([]byte(got.stdout), &s); got.code != 0 || err != nil || s.Leader != "zot-0" {
		t.Errorf("%+v, %v", got, err)
	}
	if got := call("cluster", "status", "--config", file); got.code != 0 || !strings.HasPrefix(got.stdout, "leader zot-0, term 4;") {
		t.Errorf("%+v", got)
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	t.Setenv("ZOT_CONFIG", "/else/where.json")
	if got := call("cluster", "status"); !strings.Contains(got.stderr, "/else/where.json") {
		t.Errorf("%+v", got)
	}
	t.Setenv("ZOT_CONFIG", "")
	if got := call("cluster", "status", "--help"); !strings.Contains(got.stdout, `(default "/etc/zot/config.json")`) {
		t.Errorf("%+v", got)
	}
}

// What `zot cluster status` prints, for people and for programs.
func TestStatusTable(t *testing.T) {
	t.Parallel()
	applied, lag, late := uint64(1234), uint64(0), uint64(56)
	behind := applied - late
	own, ago, long := 0.0, 0.0421, 93.5
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	said := map[entry.Incarnation]nodeReport{
		{1}: {Store: &storeUse{UsedBytes: 12 << 30, TotalBytes: 100 << 30}, Jobs: []jobReport{
			{Name: "scrub store default", Running: now.Add(-3 * time.Hour), Ended: now.Add(-50 * time.Hour), TookSeconds: 7265},
			{Name: "remove doomed copies of store default", Running: now.Add(-time.Second)},
			{Name: "remove unknown copies of store default", Ended: now.Add(-20 * time.Second), TookSeconds: 0.0123},
		}},
		{2}: {Store: &storeUse{UsedBytes: 1 << 20, TotalBytes: 3 << 40}, Jobs: []jobReport{
			{Name: "collect garbage of store default", Ended: now.Add(-20 * time.Second), TookSeconds: 3, Error: "no leader"},
		}},
	}
	s := clusterStatus{
		Status: cluster.Status{Leader: "zot-1", Term: 7, FailureTolerance: 1},
		Members: withReports([]cluster.MemberStatus{
			{Name: "zot-0", Incarnation: entry.Incarnation{1}, Address: "zot-0.zot:7373", Zone: "a", State: "member", Voter: true, Applied: &behind, Lag: &late, LastContactSeconds: &ago, Version: "v1.2.3", Level: 1},
			{Name: "zot-1", Incarnation: entry.Incarnation{2}, Address: "zot-1.zot:7373", Zone: "b", State: "member", Voter: true, Applied: &applied, Lag: &lag, LastContactSeconds: &own, Version: "v1.2.3", Level: 1},
			{Name: "zot-2", Incarnation: entry.Incarnation{3}, Address: "zot-2.zot:7373", State: "retired", LastContactSeconds: &long, Version: "v1.2.2", Level: 1},
			{Incarnation: entry.Incarnation{4}, Address: "zot-3.zot:7373", State: "joining"},
		}, said),
		Blobs: blobHealth{Damaged: 1, AtOneCopy: 7, BelowReplicas: maxCounted, Doomed: 3},
	}
	var b bytes.Buffer
	for _, all := range []bool{false, true} {
		if err := printStatus(&b, s, all, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := printStatus(&b, clusterStatus{Waiting: "1 of 3 nodes for the first start are there"}, false, now); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "status.golden", b.String()+string(encoded)+"\n")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; -update rewrites it. Got:\n%s", path, got)
	}
}
