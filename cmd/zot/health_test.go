package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// patient is a node and its state, each sound or as a test says.
type patient struct {
	waiting  string
	round    error
	noQuorum bool
	offline  error // of the blob store
	placed   error // the configuration is not the cluster's
	withRoom int   // members
	unknown  bool  // to the state
	state    entry.NodeState
	broken   error // the state cannot be read
	fenced   string
	need     int
	readOnly error
	rounds   atomic.Int32
}

func (p *patient) Waiting() string { return p.waiting }

func (p *patient) ReadIndex(context.Context) error {
	p.rounds.Add(1)
	return p.round
}

func (p *patient) NoQuorum() bool { return p.noQuorum }

func (p *patient) Check(context.Context) error { return p.offline }

func (p *patient) WithRoom() int { return p.withRoom }

func (p *patient) Record() (entry.Node, bool, error) {
	return entry.Node{State: p.state}, !p.unknown, p.broken
}

func (p *patient) Fenced() string { return p.fenced }

func (p *patient) Placed() error { return p.placed }

func (p *patient) Need(string) (int, error) { return p.need, nil }

func (p *patient) Writable() error { return p.readOnly }

// sound is a member of three, two of which answer; a push needs two.
func sound() *patient { return &patient{state: entry.Member, need: 2, withRoom: 2} }

// of is the one store of a node.
func of(p *patient) []checkedDepot { return []checkedDepot{{depot: p, name: fsm.DefaultStore}} }

// probe asks h and returns the status code and what it says is missing.
func probe(t *testing.T, h *health, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	var p probed
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%s: %q: %v", path, w.Body, err)
	}
	if (p.Status == "ok") != (w.Code == http.StatusOK) || (p.Missing == "") != (w.Code == http.StatusOK) {
		t.Errorf("%s: %d with %s", path, w.Code, w.Body)
	}
	return w.Code, p.Missing
}

func TestHealth(t *testing.T) {
	t.Parallel()
	const (
		live  = "/livez"
		start = "/startupz"
		read  = "/readyz"
		write = "/readyz?for=write"
	)
	for name, test := range map[string]struct {
		change  func(p *patient, h *health)
		fail    []string // these answer 503, the others 200
		missing string   // said by each of these
	}{
		"sound":                     {func(*patient, *health) {}, nil, ""},
		"not admitted yet":          {func(p *patient, _ *health) { p.unknown = true }, []string{start, read, write}, "not part of the cluster yet"},
		"not admitted, with reason": {func(p *patient, _ *health) { p.unknown, p.waiting = true, "1 of 3 nodes" }, []string{start, read, write}, "1 of 3 nodes"},
		"known, and waiting":        {func(p *patient, _ *health) { p.waiting = "no leader" }, nil, ""},
		"state broken":              {func(p *patient, _ *health) { p.broken = errors.New("damaged") }, []string{start, read, write}, "damaged"},
		"fenced":                    {func(p *patient, _ *health) { p.fenced = "state hash differs" }, []string{read, write}, "state hash differs"},
		"retired":                   {func(p *patient, _ *health) { p.state = entry.Retired }, []string{read, write}, "removed from the cluster"},
		"dropped":                   {func(p *patient, _ *health) { p.state = entry.Dropped }, []string{read, write}, "removed from the cluster"},
		"joining":                   {func(p *patient, _ *health) { p.state = entry.Joining }, []string{start, read, write}, "not a member of the cluster yet"},
		"stopping":                  {func(_ *patient, h *health) { h.drain() }, []string{read, write}, "stopping"},
		"no round, a quorum":        {func(p *patient, _ *health) { p.round = errors.New("timeout") }, []string{read, write}, "no round with the leader: timeout"},
		"no quorum":                 {func(p *patient, _ *health) { p.round, p.noQuorum = errors.New("alone"), true }, []string{write}, "alone"},
		"no quorum, strict reads":   {func(p *patient, h *health) { p.round, p.noQuorum, h.stale = errors.New("alone"), true, false }, []string{read, write}, "alone"},
		"no quorum, after a round": {func(p *patient, h *health) {
			h.caughtUp.Store(true)
			p.round = errors.New("alone")
			h.stale = false
		}, []string{write}, "alone"},
		"disk nearly full":  {func(_ *patient, h *health) { h.filled = func() (float64, error) { return 0.86, nil } }, []string{write}, "86 %"},
		"disk just full":    {func(_ *patient, h *health) { h.filled = func() (float64, error) { return 0.85, nil } }, []string{write}, "85 %"},
		"disk does not say": {func(_ *patient, h *health) { h.filled = func() (float64, error) { return 0, errors.New("EIO") } }, []string{write}, "EIO"},
		"too few members":   {func(p *patient, _ *health) { p.need = 3 }, []string{write}, "2 members are alive and have room in store default, a push needs 3"},
		"read-only":         {func(p *patient, _ *health) { p.readOnly = errors.New("disks are changed") }, []string{write}, "disks are changed"},
		"configured apart":  {func(p *patient, _ *health) { p.placed = errors.New("elsewhere") }, []string{read, write}, "elsewhere"},
		"store offline":     {func(p *patient, _ *health) { p.offline = errors.New("no marker") }, []string{read, write}, "no marker"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := sound()
			h := &health{node: p, self: p, stores: of(p), stale: true, filled: func() (float64, error) { return 0.84, nil }}
			test.change(p, h)
			for _, path := range []string{live, start, read, write} {
				want := http.StatusOK
				for _, f := range test.fail {
					if f == path {
						want = http.StatusServiceUnavailable
					}
				}
				if code, missing := probe(t, h, path); code != want || want != http.StatusOK && !strings.Contains(missing, test.missing) {
					t.Errorf("%s answers %d %q, want %d %q", path, code, missing, want, test.missing)
				}
			}
		})
	}
}

// One round since the start is enough for pulls, and one in a while for pushes.
func TestHealthAsksRarely(t *testing.T) {
	t.Parallel()
	p := sound()
	h := &health{node: p, self: p, stores: of(p), stale: true, filled: func() (float64, error) { return 0, nil }}
	for range 10 {
		probe(t, h, "/readyz")
		probe(t, h, "/readyz?for=write")
	}
	if p.rounds.Load() != 1 {
		t.Errorf("%d rounds for twenty probes", p.rounds.Load())
	}
}

func TestHealthOfUnknownThings(t *testing.T) {
	t.Parallel()
	p := sound()
	h := &health{node: p, self: p, stores: of(p)}
	if code, missing := probe(t, h, "/readyz?for=lunch"); code != http.StatusBadRequest || !strings.Contains(missing, "lunch") {
		t.Errorf("%d %q", code, missing)
	}
}

func TestUsedShare(t *testing.T) {
	t.Parallel()
	if share, err := usedShare(t.TempDir()); err != nil || share <= 0 || share > 1 {
		t.Errorf("%f, %v", share, err)
	}
	if _, err := usedShare(t.TempDir() + "/none"); err == nil {
		t.Error("a path that is not there has room")
	}
}
