package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// What the operator asks for, and what the state says to it; what the status shows of it then.
func TestDrain(t *testing.T) {
	t.Parallel()
	log := newAlone(t)
	state, do := log.State, func(cmd fsm.CommandOf[fsm.None]) { t.Helper(); log.do(t, cmd) }
	do(fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 2, WriteAcks: 1})
	for n := byte(1); n <= 4; n++ {
		name := fmt.Sprint("zot-", min(n, 3)) // the last two have one name: a machine that came back with another disk
		do(fsm.NodeStarted{Node: entry.Node{Incarnation: entry.Incarnation{n}, Name: name, Level: 1}})
		do(fsm.NodeJoined{Incarnation: entry.Incarnation{n}})
	}
	digest, err := packed("sha256:" + strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	do(fsm.BlobStored{
		Repository: "a", Store: fsm.DefaultStore, Digest: digest, Size: 1,
		Locations: []fsm.Location{{Incarnation: entry.Incarnation{1}, Copy: fsm.CopyID{1}}, {Incarnation: entry.Incarnation{2}, Copy: fsm.CopyID{2}}},
	})

	ask := func(body string, code int, words string) {
		t.Helper()
		w := httptest.NewRecorder()
		drains{state, log}.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)))
		if w.Code != code || !strings.Contains(w.Body.String(), words) {
			t.Errorf("%s: %d %s, want %d with %q", body, w.Code, w.Body, code, words)
		}
	}
	shows := func(want ...string) {
		t.Helper()
		all, err := emptyingOf(state)
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, e := range all {
			have = append(have, e.String())
		}
		if strings.Join(have, ", ") != strings.Join(want, ", ") {
			t.Errorf("shows %q, want %q", have, want)
		}
	}
	shows()
	ask(`{"node": "zot-1"}`, http.StatusOK, `{}`)
	shows("zot-1 is being emptied: 1 copy is left")
	ask(`{"node": "04000000"}`, http.StatusOK, `{}`)
	shows("zot-1 is being emptied: 1 copy is left", "zot-3 is drained: no copies are left")
	ask(`{"node": "zot-2"}`, http.StatusConflict, "zot-2 cannot be emptied: nodes left for copies: 1, replicas of store default: 2. Take another node in")
	ask(`{"node": "zot-1", "undo": true}`, http.StatusOK, `{}`)
	ask(`{"node": "zot-2"}`, http.StatusOK, `{}`)
	ask(`{"node": "zot-9"}`, http.StatusConflict, `no node is named \"zot-9\"`)
	ask(`{"node": "zot-3"}`, http.StatusConflict, "several nodes are named")
	ask(`{}`, http.StatusBadRequest, "not what this request takes")
	do(fsm.RetireNode{Incarnation: entry.Incarnation{2}})
	ask(`{"node": "zot-2"}`, http.StatusConflict, "zot-2 is retired: only members are emptied")
	shows("zot-2 leaves: 1 copy is left", "zot-3 is drained: no copies are left")

	// What a node had that is gone with its disk is missing at once, not when it is cleared away.
	if b, err := blobsOf(state); err != nil || b.BelowReplicas != 0 {
		t.Errorf("%+v, %v", b, err)
	}
	do(fsm.DropNode{Incarnation: entry.Incarnation{1}, Lost: true})
	if b, err := blobsOf(state); err != nil || b.BelowReplicas != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestDrainCommand(t *testing.T) {
	t.Parallel()
	asked := ""
	file := serveSocket(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + r.URL.Path + string(body)
		_, _ = io.WriteString(w, "{}")
	}))
	for args, want := range map[string]string{
		"zot-1":        "zot-1 is being emptied: 'zot cluster status' shows how many copies are left\n",
		"zot-1 --undo": "zot-1 gets copies again\n",
	} {
		got := call(append(append([]string{"cluster", "drain"}, strings.Fields(args)...), "--config", file)...)
		wish := fmt.Sprintf(`POST/cluster/drain{"node":"zot-1","undo":%t}`, strings.HasSuffix(args, "undo"))
		if got.code != exitDone || got.stdout != want || asked != wish {
			t.Errorf("%s: %+v, asked %s", args, got, asked)
		}
	}
}
