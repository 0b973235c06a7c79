package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
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
		"serve problems":       {[]string{"serve", problems}, 1, "", "zot: " + problems + ": 2 problems\n  log.level: \"loud\" is not known; give one of trace, debug, info, warn, error, fatal, panic, disabled\n  htpp: unknown key; did you mean \"http\"?\n"},
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

// What `zot cluster verify` prints, for people and for programs, and how it ends.
func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	nodes := []nodeVerdict{
		{Name: "zot-0", Incarnation: entry.Incarnation{1}, Answered: true, Applied: 1234, checkResult: checkResult{Copies: 12, Bytes: 3 << 30, Hashed: 3 << 30}},
		{Name: "zot-1", Incarnation: entry.Incarnation{2}, Answered: true, Applied: 1230, checkResult: checkResult{Copies: 11, Bytes: 2 << 30}},
	}
	away := append(slices.Clone(nodes), nodeVerdict{Name: "zot-2", Incarnation: entry.Incarnation{3}})
	var printed strings.Builder
	for _, test := range []struct {
		name   string
		view   view
		code   int
		stderr string
	}{
		{"all well", view{verdict: verdict{Nodes: nodes}}, exitDone, ""},
		{
			"broken",
			view{verdict: verdict{Nodes: away, Broken: []finding{
				{What: "index linked has 3 entries, its records make 4", Nodes: []string{"zot-0", "zot-1"}, Mend: mendBug},
				{Invariant: 1, What: "true copies of blob sha256:b are 1, and must be 2", Mend: mendBlob},
				{Invariant: 5, What: "copy 01 of blob sha256:b is recorded there, and its file is gone", Nodes: []string{"zot-0"}, Mend: mendCopy},
				{Invariant: 5, What: "copy 02 of blob sha256:c is recorded there, and its file is gone", Nodes: []string{"zot-1"}, Mend: mendCopy},
			}, Unchecked: []unchecked{{"zot-2", "it was not asked to the end: connection refused"}}, Hints: []string{"zot-0: 3 files"}}},
			exitFailed, "zot: the cluster is not as it should be: the state does not fit together, invariant 1 is broken, invariant 5 is broken\n",
		},
		{
			"a node away",
			view{verdict: verdict{Nodes: away, Unchecked: []unchecked{{"zot-2", "it was not asked to the end: connection refused"}, {"", "the state hashes of all nodes at one log index: no leader"}}}},
			exitFailed, "zot: nothing is broken as far as could be seen, but zot-2 could not be asked for all\n",
		},
		{
			"no leader",
			view{verdict: verdict{Nodes: nodes, Unchecked: []unchecked{{"", "the state hashes of all nodes at one log index: no leader"}}}},
			exitFailed, "zot: nothing is broken as far as could be seen, but not all could be checked\n",
		},
		{"not at all", view{err: errors.New("this node is not part of a cluster yet")}, exitFailed, "zot: this node is not part of a cluster yet\n"},
	} {
		test.view.progress = []auditProgress{{"zot-0", stageNote{Name: "copies", Done: 7}}}
		file := serveView(t, &board{}, &test.view)
		got := call("cluster", "verify", "--hash", "--config", file)
		if got.code != test.code || got.stderr != test.stderr || !test.view.wish.Hash {
			t.Errorf("%s: %+v, hash %t", test.name, got, test.view.wish.Hash)
		}
		fmt.Fprintf(&printed, "--- %s\n%s", test.name, got.stdout)
		got = call("cluster", "verify", "--json", "--config", file)
		if got.code != test.code || test.view.wish.Hash {
			t.Errorf("%s: %+v, hash %t", test.name, got, test.view.wish.Hash)
		}
		printed.WriteString(got.stdout)
	}
	golden(t, "verify.golden", printed.String())
	for _, test := range []struct {
		all  []auditProgress
		want string
	}{
		{nil, ""},
		{
			[]auditProgress{{"zot-0", stageNote{Name: "state"}}, {"zot-1", stageNote{Name: "copies", Done: 300}}, {"zot-2", stageNote{Name: "hashing", Done: 1 << 30, Total: 3 << 30}}},
			"zot-0: state; zot-1: copies 300; zot-2: hashing 33 %",
		},
	} {
		if got := progressText(test.all); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
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
		{1}: {Store: &storeUse{UsedBytes: 12 << 30, TotalBytes: 100 << 30}, Files: []fileUse{{File: "state", Size: 3 << 20, Free: 1 << 20}}, Jobs: []jobReport{
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
		}, said, map[entry.Incarnation]heldBy{{1}: {Held: fsm.Held{Copies: 1, Bytes: 512}}, {3}: {Held: fsm.Held{Copies: 100_000, Bytes: 3 << 40}}}),
		Blobs: blobHealth{Damaged: 1, AtOneCopy: 7, BelowReplicas: maxCounted, Doomed: 3},
		Emptying: []emptying{
			{"zot-0", entry.Incarnation{1}, false, 1}, {"zot-1", entry.Incarnation{2}, false, 0}, {"zot-2", entry.Incarnation{3}, true, 100_000},
		},
		Moving: []moving{{"team/app", "/fast", fsm.LinksIn{Store: "/fast", Links: 7, Bytes: 3 << 20}, []fsm.LinksIn{{Store: "/old", Links: 1, Bytes: 1 << 20}, {Store: "default", Links: 2, Bytes: 1 << 10}}}},
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
	printed, one := b.String(), s.Members[0]
	one.Stores = map[string]storeUse{"default": {UsedBytes: 12 << 30, TotalBytes: 100 << 30}, "/a/b": {UsedBytes: 1 << 30, TotalBytes: 2 << 30}}
	one.HeldIn = map[string]fsm.Held{"default": {Copies: 1, Bytes: 512}}
	two := s.Members[1]
	two.Stores = map[string]storeUse{"default": {UsedBytes: 1 << 20, TotalBytes: 3 << 40}} // the disk of the other is not there
	two.HeldIn = map[string]fsm.Held{"/a/b": {Copies: 2, Bytes: 1 << 30}}
	b.Reset()
	several := clusterStatus{Status: s.Status, Members: []memberStatus{one, two}}
	if err := printStatus(&b, several, true, now); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.MarshalIndent(one, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "status_stores.golden", b.String()+string(encoded)+"\n")
	b.Reset()
	b.WriteString(printed)
	encoded, err = json.MarshalIndent(s, "", "  ")
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
