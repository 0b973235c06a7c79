package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
)

// board is a node that notes what its operator wants.
type board struct {
	err     error
	done    string
	waiting string
}

func (b *board) Waiting() string { return b.waiting }

func (b *board) Status(context.Context) (cluster.Status, error) {
	return cluster.Status{Leader: "zot-0", Term: 4}, b.err
}

func (b *board) Remove(_ context.Context, name string, lost bool) error {
	b.done = "remove " + name
	if lost {
		b.done += " lost"
	}
	return b.err
}

func (b *board) MoveLeadership(_ context.Context, name string) error {
	b.done = "transfer " + name
	return b.err
}

// view is the cluster as somebody sees it.
type view struct {
	blobs    blobHealth
	reports  map[entry.Incarnation]nodeReport
	progress []auditProgress
	verdict  verdict
	err      error
	wish     checkWish // that it was asked for
}

func (v *view) Blobs() (blobHealth, error) { return v.blobs, nil }

func (v *view) Emptying() ([]emptying, error) { return nil, nil }

func (v *view) Usage() (usage, error) { return usage{}, nil }

func (v *view) Moving() ([]moving, error) { return nil, nil }

func (v *view) Held() (map[entry.Incarnation]heldBy, error) { return nil, nil }

func (v *view) Reports(context.Context) map[entry.Incarnation]nodeReport { return v.reports }

func (v *view) Audit(_ context.Context, wish checkWish, tell func(auditProgress)) (verdict, error) {
	v.wish = wish
	for _, p := range v.progress {
		tell(p)
	}
	return v.verdict, v.err
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	denied := &peer.RemoteError{Code: "denied", Message: "no quorum would remain"}
	for name, test := range map[string]struct {
		request, body string
		err           error
		want          int
		answer, done  string
		waiting       string
	}{
		"status":            {request: "GET /cluster/status", want: 200, answer: `{"leader":"zot-0","term":4,"failureTolerance":0,"members":null,"blobs":{"damaged":1,"atOneCopy":0,"belowReplicas":2,"doomed":0},"usage":{"bytes":0,"repositories":0}}`},
		"status, waiting":   {request: "GET /cluster/status", waiting: "1 of 3 nodes", want: 200, answer: `{"leader":"zot-0","term":4,"failureTolerance":0,"members":null,"blobs":{"damaged":1,"atOneCopy":0,"belowReplicas":2,"doomed":0},"waiting":"1 of 3 nodes","usage":{"bytes":0,"repositories":0}}`},
		"remove":            {request: "POST /cluster/remove", body: `{"node": "zot-1"}`, want: 200, answer: `{}`, done: "remove zot-1"},
		"remove a lost one": {request: "POST /cluster/remove", body: `{"node": "zot-1", "lost": true}`, want: 200, answer: `{}`, done: "remove zot-1 lost"},
		"remove nobody":     {request: "POST /cluster/remove", body: `{}`, want: 400, answer: `{"error":"the body is not what this request takes"}`},
		"refused":           {request: "POST /cluster/remove", body: `{"node": "zot-1"}`, err: denied, want: 409, answer: `{"error":"no quorum would remain"}`, done: "remove zot-1"},
		"no leader":         {request: "POST /cluster/transfer", body: `{}`, err: cluster.ErrNoLeader, want: 503, answer: `{"error":"no leader"}`, done: "transfer "},
		"transfer":          {request: "POST /cluster/transfer", body: `{"node": "zot-2"}`, want: 200, answer: `{}`, done: "transfer zot-2"},
		"not JSON":          {request: "POST /cluster/transfer", body: `zot-2`, want: 400, answer: `{"error":"the body is not what this request takes"}`},
		"verify what":       {request: "POST /cluster/verify", body: `yes`, want: 400, answer: `{"error":"the body is not what this request takes"}`},
		"starting":          {request: "GET /cluster/status", err: errors.New("starting"), want: 503, answer: `{"error":"starting"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &board{err: test.err, waiting: test.waiting}
			method, path, _ := strings.Cut(test.request, " ")
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(test.body))
			adminHandler(b, &view{blobs: blobHealth{Damaged: 1, BelowReplicas: 2}}).ServeHTTP(w, r)
			if got := strings.TrimSpace(w.Body.String()); w.Code != test.want || got != test.answer || b.done != test.done {
				t.Errorf("%d %s, did %q; want %d %s, %q", w.Code, got, b.done, test.want, test.answer, test.done)
			}
		})
	}
}

// shortDir is a directory whose path is short enough for a socket in it.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "zot") //nolint:usetesting // the test's own directory may have too long a path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAdminSocket(t *testing.T) {
	t.Parallel()
	root := shortDir(t)
	if err := os.Mkdir(filepath.Join(root, "node"), 0o700); err != nil {
		t.Fatal(err)
	}
	left, err := listenAdmin(root) // as after a crash, its name stays
	if err != nil {
		t.Fatal(err)
	}
	if err := left.UnixListener.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := listenAdmin(root)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, adminSocket)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeSocket == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := listenAdmin("/" + strings.Repeat("d", 100)); err == nil || !strings.Contains(err.Error(), "shorter storage.rootDirectory") {
		t.Errorf("a path that is too long is %v", err)
	}
}

// serveBoard is an operator's socket that answers as b does, and the configuration that leads to it.
func serveBoard(t *testing.T, b *board) (file string) {
	t.Helper()
	return serveView(t, b, &view{})
}

func serveView(t *testing.T, b *board, v *view) (file string) {
	t.Helper()
	return serveSocket(t, adminHandler(b, v))
}

// serveSocket is an operator's socket that answers as h does, and the configuration that leads to it.
func serveSocket(t *testing.T, h http.Handler) (file string) {
	t.Helper()
	root := shortDir(t)
	if err := os.Mkdir(filepath.Join(root, "node"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := listenAdmin(root)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	return configIn(t, root, "")
}

// configIn writes a configuration with that root directory, and more keys.
func configIn(t testing.TB, root, more string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "config.json")
	put(t, file, `{"storage": {"rootDirectory": "`+root+`"}`+more+`}`)
	return file
}
