package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

// The state takes its limits from the leader's file, and a node whose file lasts in saying otherwise warns once.
func TestLimits(t *testing.T) {
	t.Parallel()
	cluster := newAlone(t)
	var log strings.Builder
	logger := hclog.New(&hclog.LoggerOptions{Output: &log})
	of := func(quotas ...config.Quota) fsm.Limits {
		return limitsOf(config.Config{Storage: config.Storage{MaxRepositories: 7}, Cluster: config.Cluster{Quotas: quotas}})
	}
	leads := false
	mine := of(config.Quota{Prefix: "a", Bytes: 5})
	compare := compareLimits(cluster.State, mine, func() bool { return leads }, logger)
	look := func(warnings int, when string) {
		t.Helper()
		if err := compare.Do(t.Context()); err != nil || strings.Count(log.String(), "alike") != warnings {
			t.Errorf("%s: %v, and the log\n%s", when, err, &log)
		}
	}
	set := func(want fsm.Limits, proposed int) {
		t.Helper()
		if err := setLimits(cluster.State, want, cluster, logger).Do(t.Context()); err != nil || cluster.proposed != proposed {
			t.Errorf("%v, %d proposals", err, cluster.proposed)
		}
		if now, err := limitsNow(cluster.State); err != nil || !sameLimits(now, want) {
			t.Errorf("%v, the state goes by %+v, want %+v", err, now, want)
		}
	}
	set(fsm.Limits{}, 0)
	look(0, "before the first leader has set them")
	set(mine, 1)
	set(mine, 1)
	look(0, "alike")
	other := of(config.Quota{Prefix: "a", Bytes: 6})
	set(other, 2)
	look(0, "just set")
	look(1, "it lasts")
	look(1, "it lasts longer")
	set(of(), 3)
	look(1, "another difference")
	look(2, "it lasts too")
	leads = true
	set(other, 4)
	look(2, "a leader")
	look(2, "a leader, who is about to set them")
}

// What the operator is told of limits, and of a registry that is read-only.
func TestUsage(t *testing.T) {
	t.Parallel()
	cluster := newAlone(t)
	cluster.do(t, fsm.NodeStarted{Node: entry.Node{Incarnation: entry.Incarnation{1}, Name: "zot-0", Level: 1}})
	cluster.do(t, fsm.NodeJoined{Incarnation: entry.Incarnation{1}})
	d, err := packed("sha256:" + strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	cluster.do(t, fsm.BlobStored{Repository: "team/b", Store: fsm.DefaultStore, Digest: d, Size: 3 << 20, Locations: []fsm.Location{{Incarnation: entry.Incarnation{1}, Copy: fsm.CopyID{1}}}})
	text := func() string {
		t.Helper()
		u, err := usageOf(cluster.State)
		if err != nil {
			t.Fatal(err)
		}
		return u.text()
	}
	if have, want := text(), "repositories: 1, with 3.0 MiB\n"; have != want {
		t.Errorf("%q, want %q", have, want)
	}

	l := fsm.Limits{MaxRepositories: 20, Quotas: []fsm.Quota{{Prefix: "", Bytes: 12 << 20}}}
	for i := range 10 {
		l.Quotas = append(l.Quotas, fsm.Quota{Prefix: fmt.Sprint("q", i), Bytes: 1 << 30})
	}
	l.Quotas = append(l.Quotas, fsm.Quota{Prefix: "team", Bytes: 2 << 20})
	cluster.do(t, fsm.SetLimits{Limits: l})
	handler := readOnlyHandler(cluster)
	ask := func(body string, code int, words string) {
		t.Helper()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body)))
		if w.Code != code || !strings.Contains(w.Body.String(), words) {
			t.Errorf("%s: %d %s, want %d with %q", body, w.Code, w.Body, code, words)
		}
	}
	ask(`{"on": true, "reason": "disks are changed"}`, http.StatusOK, "{}")
	ask(`{"on": true, "reason": "\u001b[2J"}`, http.StatusConflict, "control characters")
	ask(`[]`, http.StatusBadRequest, "")
	have := text()
	for _, want := range []string{
		"READ-ONLY since 1970-01-01T00:00:00Z: disks are changed\nrepositories: 1 of 20, with 3.0 MiB\n" +
			"quota of team: 3.0 MiB of 2.0 MiB (150 %)\nquota of the whole registry: 3.0 MiB of 12.0 MiB (25 %)\nquota of q0: 0 B of 1.0 GiB (0 %)\n",
		"\nand 2 quotas that are less full; --json has all\n",
	} {
		if !strings.Contains(have, want) {
			t.Errorf("%s\nwant %s", have, want)
		}
	}
	u, err := usageOf(cluster.State)
	if err != nil {
		t.Fatal(err)
	}
	u.Quotas = u.Quotas[len(u.Quotas)-1:]
	out, err := json.Marshal(u)
	if want := `{"bytes":3145728,"repositories":1,"maxRepos":20,"quotas":[{"prefix":"team","bytes":2097152,"used":3145728}],` +
		`"readOnly":{"since":0,"reason":"disks are changed"}}`; err != nil || string(out) != want {
		t.Errorf("%v %s", err, out)
	}
	if self := (self{State: cluster.State}); self.Writable() == nil || !strings.Contains(self.Writable().Error(), "disks are changed") {
		t.Error(self.Writable())
	}
	ask(`{"on": false}`, http.StatusOK, "{}")
	if self := (self{State: cluster.State}); self.Writable() != nil || strings.Contains(text(), "READ-ONLY") {
		t.Error(self.Writable(), text())
	}
}
