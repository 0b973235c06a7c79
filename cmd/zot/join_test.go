package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

func TestJoinCommand(t *testing.T) {
	t.Parallel()
	section := `, "cluster": {"secretFile": "/nowhere/secret"}`
	for name, test := range map[string]struct {
		more   string
		args   []string
		code   int
		stderr string
	}{
		"no token":      {section, []string{"a:1"}, exitUsage, `required flag(s) "token" not set`},
		"no address":    {section, []string{"--token", "T"}, exitUsage, "accepts 1 arg(s)"},
		"bad address":   {section, []string{"zot-0", "--token", "T"}, exitFailed, `as zot-0.zot:7373, not "zot-0"`},
		"no section":    {"", []string{"a:1", "--token", "T"}, exitFailed, `has no section "cluster": add {"cluster": {`},
		"no secretFile": {`, "cluster": {}`, []string{"a:1", "--token", "T"}, exitFailed, "cluster.secretFile is missing: say where"},
		"problems":      {`, "cluster": {"reads": "maybe"}`, []string{"a:1", "--token", "T"}, exitFailed, `cluster.reads: "maybe" is not known`},
		"nowhere to":    {section, []string{"a:1", "--token", "T"}, exitFailed, "could not be written to cluster.secretFile: open /nowhere/secret.new"},
		"half a token":  {`, "cluster": {"secretFile": "ROOT/secret"}`, []string{"127.0.0.1:1", "--token", "AQID"}, exitFailed, "not a whole token: it has 3 bytes, a token has 89: copy the whole command again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := shortDir(t)
			file := configIn(t, root, strings.ReplaceAll(test.more, "ROOT", root))
			got := call(append([]string{"cluster", "join", "--config", file}, test.args...)...)
			if got.code != test.code || !strings.Contains(got.stderr, test.stderr) {
				t.Errorf("%+v, want %d and %q", got, test.code, test.stderr)
			}
			if _, err := os.Stat(filepath.Join(root, "secret")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a secret was written: %v", err)
			}
		})
	}
}

// TestJoinNobody asks at an address where nobody listens.
func TestJoinNobody(t *testing.T) {
	t.Parallel()
	p, err := peer.New(peer.Config{Cluster: "zot", Node: "zot-0", Incarnation: "i", Listen: "127.0.0.1:0", Secrets: [][]byte{[]byte(line("a"))}})
	if err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := p.Run(over); err != nil { // gives the port back
		t.Fatal(err)
	}
	token, _, err := p.Invite(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	root := shortDir(t)
	var said strings.Builder
	j := &joiner{
		config:  config.Config{Storage: config.Storage{Store: config.Store{RootDirectory: root}}, Cluster: config.Cluster{Node: "zot-1", SecretFile: filepath.Join(root, "secret")}},
		address: p.Addr().String(), token: token, patience: time.Millisecond, files: fsm.SystemFiles(), out: &said,
	}
	if err := j.takeSecret(t.Context()); err == nil || !strings.Contains(err.Error(), "Is it the address of a node that runs") || strings.Contains(err.Error(), token) {
		t.Errorf("%v", err)
	}
	if !strings.HasPrefix(said.String(), j.address+" does not take this machine in yet, and is asked again: node unreachable") {
		t.Errorf("said %q", &said)
	}
	j.patience = time.Minute
	if err := j.takeSecret(over); err == nil || !strings.Contains(err.Error(), "interrupted; nothing was changed here") {
		t.Errorf("%v", err)
	}
}

func TestRefusalsInWords(t *testing.T) {
	t.Parallel()
	for reason, want := range map[peer.JoinReason]string{
		peer.TokenMalformed: "x: copy the whole command again",
		peer.TokenForeign:   "x: make a new one with 'zot cluster token' on a node of the cluster",
		peer.TokenSpent:     "x: make a new one with 'zot cluster token' on a node of the cluster",
		peer.TokenExpired:   "x, which is 2h0m0s behind this machine's: if that is the wrong one, set it; then make a new one with 'zot cluster token' on a node of the cluster",
		peer.JoinCluster:    "x: mend cluster.name in the configuration of this machine",
		peer.JoinVersion:    "x",
	} {
		if got := inWords(&peer.JoinError{Reason: reason, Detail: "x"}, peer.Welcome{Ahead: -2 * time.Hour}); got.Error() != want {
			t.Errorf("%s: %q, want %q", reason, got, want)
		}
	}
	if got := inWords(&peer.JoinError{Reason: peer.TokenExpired, Detail: "x"}, peer.Welcome{Ahead: 2 * time.Second}); strings.Contains(got.Error(), "behind") {
		t.Errorf("clocks that agree: %q", got)
	}
}

// newPlace is a place in a new root directory, and its configuration.
func newPlace(t *testing.T) (*place, config.Config) {
	t.Helper()
	root := t.TempDir()
	c := config.Config{Storage: config.Storage{Store: config.Store{RootDirectory: root}}, Cluster: config.Cluster{SecretFile: filepath.Join(root, "secret")}}
	return samePlace(t, c), c
}

func samePlace(t *testing.T, c config.Config) *place {
	t.Helper()
	p, err := openPlace(c, fsm.SystemFiles())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // again, where the test closes it
	return p
}

func TestPlace(t *testing.T) {
	t.Parallel()
	p, c := newPlace(t)
	if _, err := openPlace(c, fsm.SystemFiles()); err == nil || !strings.Contains(err.Error(), "another zot runs in") {
		t.Errorf("twice: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again := samePlace(t, c)
	if again.joiner != p.joiner || p.joiner == [16]byte{} {
		t.Errorf("who asks was %x and is %x", p.joiner, again.joiner)
	}
	lines := [][]byte{[]byte(line("a")), []byte(line("b"))}
	for _, want := range []bool{true, false} {
		again = samePlaceAfter(t, again, c)
		if written, err := again.keep(lines, "zot-0:7373"); err != nil || written != want {
			t.Errorf("written: %t, %v", written, err)
		}
	}
	put(t, c.Cluster.SecretFile, line("b"))
	again = samePlaceAfter(t, again, c)
	if _, err := again.keep(lines, "zot-0:7373"); err == nil || !strings.Contains(err.Error(), "holds another secret, and is left as it is") || strings.Contains(err.Error(), line("b")) {
		t.Errorf("over another secret: %v", err)
	}
	put(t, c.Cluster.SecretFile, "")
	if _, err := again.keep(lines, "zot-0:7373"); err == nil || !strings.Contains(err.Error(), "has no line: move the file away") {
		t.Errorf("over an empty file: %v", err)
	}
}

// samePlaceAfter is the place when the command is typed again.
func samePlaceAfter(t *testing.T, before *place, c config.Config) *place {
	t.Helper()
	_ = before.Close() // it may be closed already
	return samePlace(t, c)
}

// A machine where a node has been keeps what it has.
func TestPlaceOfANode(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files []string
		taken bool
	}{
		"new":              {nil, false},
		"begun":            {[]string{"node/incarnation.new"}, false},
		"begun, not ended": {[]string{"node/incarnation.new", "node/raft.db", "node/fsm.db"}, false},
		"a node":           {[]string{"node/incarnation", "node/raft.db", "node/fsm.db"}, true},
		"a lost node":      {[]string{"node/raft.db"}, true},
		"joined, not run":  {[]string{"node/members", "node/joiner"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "node"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, f := range test.files {
				put(t, filepath.Join(root, f), "x")
			}
			p, err := openPlace(config.Config{Storage: config.Storage{Store: config.Store{RootDirectory: root}}, Cluster: config.Cluster{SecretFile: filepath.Join(root, "secret")}}, fsm.SystemFiles())
			if test.taken {
				if err == nil || !strings.Contains(err.Error(), "a node has been here already") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// failing fails at the n-th step.
type failing struct {
	fsm.Files
	left int
}

var errDisk = errors.New("the disk is gone")

func (f *failing) step() error {
	if f.left--; f.left < 0 {
		return errDisk
	}
	return nil
}

func (f *failing) Create(name string) (io.WriteCloser, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.Files.Create(name)
}

func (f *failing) Sync(name string) error { return errors.Join(f.step(), f.Files.Sync(name)) }

func (f *failing) Rename(from, to string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.Files.Rename(from, to)
}

// TestNoSecretWithoutMembers cuts the keeping short at each step: a node that had the secret alone might begin a
// cluster of its own. The next try comes to the end, as the same joiner until the secret is there.
func TestNoSecretWithoutMembers(t *testing.T) {
	t.Parallel()
	lines := [][]byte{[]byte(line("a"))}
	for n := 0; ; n++ {
		p, c := newPlace(t)
		p.files = &failing{Files: fsm.SystemFiles(), left: n}
		_, err := p.keep(lines, "zot-0:7373")
		if err == nil {
			break
		}
		_, noSecret := os.Stat(c.Cluster.SecretFile)
		_, noMembers := os.Stat(filepath.Join(p.path, "members"))
		if noSecret == nil && noMembers != nil {
			t.Fatalf("after step %d the secret stands alone", n)
		}
		again := samePlaceAfter(t, p, c)
		if again.joiner != p.joiner {
			t.Errorf("after step %d another asks", n)
		}
		if _, err := again.keep(lines, "zot-0:7373"); err != nil {
			t.Errorf("after step %d: %v", n, err)
		}
		if n > 50 {
			t.Fatal("it never ends")
		}
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "node"), 0o700); err != nil {
		t.Fatal(err)
	}
	self := entry.Incarnation{1}
	put(t, filepath.Join(root, "node", "incarnation"), self.String(), "")
	j := &joiner{file: "zot.json", config: config.Config{Storage: config.Storage{Store: config.Store{RootDirectory: root}}, Cluster: config.Cluster{Name: "prod"}}}
	applied, lag, none := uint64(30), uint64(10), uint64(0)
	with := func(m cluster.MemberStatus) clusterStatus {
		other := cluster.MemberStatus{Name: "zot-1", Incarnation: entry.Incarnation{2}, State: "member", Voter: true}
		m.Name, m.Incarnation = "zot-1", self // the name of one that it replaces
		return clusterStatus{Members: withReports([]cluster.MemberStatus{other, m}, nil, nil)}
	}
	for name, test := range map[string]struct {
		status clusterStatus
		err    error
		want   stage
	}{
		"nobody":   {err: fmt.Errorf("%w at x", errNoNode), want: stage{text: "waiting for 'zot serve zot.json' to be started on this machine"}},
		"starting": {err: errors.New("the node is not up"), want: stage{text: "the node starts: the node is not up"}},
		"alone":    {want: stage{text: "the node waits to be admitted"}},
		"refused":  {status: clusterStatus{Waiting: "a living node has that name"}, want: stage{text: "the node waits to be admitted: a living node has that name"}},
		"admitted": {status: with(cluster.MemberStatus{State: "joining"}), want: stage{text: "admitted; the state of the cluster is on its way"}},
		"behind":   {status: with(cluster.MemberStatus{State: "joining", Applied: &applied, Lag: &lag}), want: stage{text: "admitted, catching up", applied: 30, goal: 40}},
		"even":     {status: with(cluster.MemberStatus{State: "joining", Applied: &applied, Lag: &none}), want: stage{text: "caught up; it votes when it has kept up for some seconds"}},
		"voter":    {status: with(cluster.MemberStatus{State: "joining", Voter: true}), want: stage{text: "caught up, votes, and is about to become a member"}},
		"member":   {status: with(cluster.MemberStatus{State: "member", Voter: true}), want: stage{text: "zot-1 is a member of cluster prod, and votes", over: true}},
	} {
		if got := j.stage(test.status, test.err); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
	if got := j.stage(with(cluster.MemberStatus{State: "retired"}), nil); !got.over || got.err == nil {
		t.Errorf("removed: %+v", got)
	}
}

func TestDisplay(t *testing.T) {
	t.Parallel()
	stages := []stage{{text: "waiting"}, {text: "waiting"}, {text: "catching up", applied: 0, goal: 1}, {text: "catching up", applied: 1000, goal: 1999}, {text: "catching up", applied: 1999, goal: 1999}, {text: "member"}}
	empty, half, full := strings.Repeat(".", 30), strings.Repeat("#", 15)+strings.Repeat(".", 15), strings.Repeat("#", 30)
	for _, test := range []struct {
		terminal bool
		want     string
	}{
		{false, "waiting\ncatching up [" + empty + "]\ncatching up [" + half + "]\ncatching up [" + full + "]\nmember\n"},
		{true, "\r\x1b[Kwaiting\r\x1b[Kcatching up [" + empty + "] 0 of 1\r\x1b[Kcatching up [" + half + "] 1000 of 1999\r\x1b[Kcatching up [" + full + "] 1999 of 1999\r\x1b[Kmember\n"},
	} {
		var out bytes.Buffer
		d := newDisplay(&out)
		d.terminal = test.terminal
		for _, s := range stages {
			d.stage(s)
		}
		d.end()
		if out.String() != test.want {
			t.Errorf("%q, want %q", &out, test.want)
		}
	}
}

func TestMembersOfAHome(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := config.Config{Storage: config.Storage{Store: config.Store{RootDirectory: root}}}
	if hasJoined(c) {
		t.Error("an empty directory has joined")
	}
	if err := os.Mkdir(filepath.Join(root, "node"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(root, "node", "members")
	put(t, name, "zot-0:7373", "", " zot-1:7373 ", "")
	h, err := openHome(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(h.members, " "); got != "zot-0:7373 zot-1:7373" || !hasJoined(c) || !h.New {
		t.Errorf("members %q", got)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, name, "zot-0")
	if _, err := openHome(c); err == nil || !strings.Contains(err.Error(), `"zot-0" is no host:port: mend or remove the line`) {
		t.Errorf("%v", err)
	}
}
