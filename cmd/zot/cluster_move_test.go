package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs/move"
)

// newest is a node whose state is always the newest.
type newest struct{ *alone }

func (newest) ReadIndex(context.Context) error { return nil }

// What the operator asks for, and what the state says to it; what the status shows of it then.
func TestMove(t *testing.T) {
	t.Parallel()
	log := newAlone(t)
	do := func(cmd fsm.CommandOf[fsm.None]) { t.Helper(); log.do(t, cmd) }
	for _, name := range []string{fsm.DefaultStore, "/fast"} {
		do(fsm.SetStore{Name: name, GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	}
	do(fsm.NodeStarted{Node: entry.Node{Incarnation: entry.Incarnation{1}, Name: "zot-1", Level: 1}})
	do(fsm.NodeJoined{Incarnation: entry.Incarnation{1}})
	digest, err := packed("sha256:" + strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	do(fsm.BlobStored{
		Repository: "a", Store: fsm.DefaultStore, Digest: digest, Size: 3 << 10,
		Locations: []fsm.Location{{Incarnation: entry.Incarnation{1}, Copy: fsm.CopyID{1}}},
	})
	m := moves{log.State, newest{log}, stores{
		{SubPath: config.SubPath{Name: fsm.DefaultStore}},
		{SubPath: config.SubPath{Name: "/fast", Store: config.Store{GC: true}}},
		{SubPath: config.SubPath{Name: "/mine"}},
	}}
	ask := func(body string, code int, words string) {
		t.Helper()
		w := httptest.NewRecorder()
		m.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)))
		if w.Code != code || !strings.Contains(w.Body.String(), words) {
			t.Errorf("%s: %d %s, want %d with %q", body, w.Code, w.Body, code, words)
		}
	}
	shows := func(want ...string) {
		t.Helper()
		all, err := allMoving(log.State)
		if err != nil || fmt.Sprint(all) != fmt.Sprint(want) {
			t.Errorf("shows %v, %v; want %v", all, err, want)
		}
	}
	ask(`{}`, http.StatusBadRequest, "not what this request takes")
	ask(`{"repository": "a", "store": "/no"}`, http.StatusConflict, "this node's configuration has no store /no; it has default, /fast, /mine")
	ask(`{"repository": "a", "store": "/mine"}`, http.StatusConflict, "the leader's configuration must have it too")
	ask(`{"repository": "b", "store": "/fast"}`, http.StatusConflict, "there is no repository b")
	ask(`{"repository": "b"}`, http.StatusConflict, "there is no repository b")
	ask(`{"repository": "a"}`, http.StatusOK, `"store":"default","there":{"store":"default","links":1,"bytes":3072},"left":null}`)
	shows()
	ask(`{"repository": "a", "store": "/fast"}`, http.StatusOK,
		`"store":"/fast","there":{"store":"/fast","links":0,"bytes":0},"left":[{"store":"default","links":1,"bytes":3072}],"kept":["default"]}`)
	shows("a moves to store /fast: 1 blob with 3.0 KiB left")
	if m.Store("/no") != nil {
		t.Error("a store that is not there is something")
	}
}

// The command shows how far a move is, why it does not get on, and what has become of it.
func TestMoveCommand(t *testing.T) {
	t.Parallel()
	in := func(store string, links int) string {
		return fmt.Sprintf(`{"store":%q,"links":%d,"bytes":%d}`, store, links, links<<20)
	}
	left := func(links int, more string) string {
		return `{"repository":"a","store":"/fast","there":` + in("/fast", 4-links) + `,"left":[` + in("default", links) + `]` + more + `}`
	}
	done := `{"repository":"a","store":"/fast","there":` + in("/fast", 4) + `,"left":[]}`
	stuck, err := json.Marshal(clusterStatus{Members: []memberStatus{{nodeReport: nodeReport{Jobs: []jobReport{{Name: move.Name, Error: "the disk is full"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		detach              bool
		answers             []string // to one question after the other; the last to all that follow
		said, shown, failed string
	}{
		"all at once":   {answers: []string{done}, said: "a is in store /fast: 4 blobs with 4.0 MiB"},
		"detached":      {detach: true, answers: []string{left(4, "")}, said: "a moves to store /fast: 4 blobs with 4.0 MiB left; 'zot cluster status' shows how far it is"},
		"in steps":      {answers: []string{left(4, ""), left(2, ""), left(1, ""), done}, said: "garbage collection removes the copies that were moved from store default", shown: "[###############...............]"},
		"no collection": {answers: []string{left(4, `,"kept":["default"]`), done}, said: "garbage collection of store default is off: the copies that were moved stay there until it is on"},
		"stuck":         {answers: []string{left(4, ""), left(4, ""), left(4, ""), done}, said: "a is in store /fast", shown: "waits: the disk is full"},
		"moved back":    {answers: []string{left(4, ""), `{"repository":"a","store":"default","left":[]}`}, failed: "a was sent to store default meanwhile, by somebody else"},
		"no such":       {answers: []string{`{"error":"there is no repository a"}`}, failed: "there is no repository a"},
		"no answer":     {answers: []string{left(4, ""), `{"error":"no leader"}`, done}, said: "a is in store /fast", shown: "waits: no leader"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			file := serveSocket(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/cluster/status" {
					_, _ = w.Write(stuck)
					return
				}
				body, _ := io.ReadAll(r.Body)
				asked = append(asked, string(body))
				answer := test.answers[min(len(asked), len(test.answers))-1]
				if strings.HasPrefix(answer, `{"error"`) {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				_, _ = io.WriteString(w, answer)
			}))
			c, err := newClient(file)
			if err != nil {
				t.Fatal(err)
			}
			defer c.http.CloseIdleConnections()
			var shown strings.Builder
			w := mover{client: c, show: newDisplay(&shown), glance: time.Millisecond, patience: time.Nanosecond}
			said, err := w.run(t.Context(), moveRequest{"a", "/fast"}, test.detach)
			if failed := fmt.Sprint(err); err != nil && (test.failed == "" || !strings.Contains(failed, test.failed)) || err == nil && test.failed != "" {
				t.Errorf("it fails with %v", err)
			}
			if !strings.Contains(said, test.said) || !strings.Contains(shown.String(), test.shown) {
				t.Errorf("it says %q, and shows %q", said, shown.String())
			}
			for i, body := range asked {
				if want := `{"repository":"a","store":"/fast"}`; i == 0 && body != want {
					t.Errorf("asked %s, want %s", body, want)
				} else if want := `{"repository":"a"}`; i > 0 && body != want {
					t.Errorf("then asked %s, want %s", body, want)
				}
			}
		})
	}
}

// Whoever waits may go: the move goes on.
func TestMoveIsInterrupted(t *testing.T) {
	t.Parallel()
	c, err := newClient(serveSocket(t, http.NotFoundHandler()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.http.CloseIdleConnections()
	w := mover{client: c, show: newDisplay(io.Discard), glance: time.Hour, patience: time.Hour}
	w.began.Left = []fsm.LinksIn{{Store: "default", Links: 1}}
	w.began.Repository, w.began.Store = "a", "/fast"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.wait(ctx); err == nil || !strings.Contains(err.Error(), "the move goes on, and 'zot cluster move a /fast' shows how far it is") {
		t.Error(err)
	}
}
