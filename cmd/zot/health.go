package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	probeTimeout = time.Second     // for one round on behalf of a probe
	roundAge     = 5 * time.Second // a node may take writes if a round succeeded so lately
	fullShare    = blobstore.FullFrom / 100.0
)

// membership is the node, as far as its health depends on the others.
type membership interface {
	Waiting() string
	ReadIndex(ctx context.Context) error
	NoQuorum() bool
}

// depot is the blob store, as far as the node's health depends on it.
type depot interface {
	Check(ctx context.Context) error
	// WithRoom is how many members, this one among them, were alive lately and had room for a push.
	WithRoom() int
}

// checkedDepot is one of the node's stores.
type checkedDepot struct {
	depot
	name   string
	filled func() (float64, error) // share of its disk that is used; nil: it is that of the node's own files, or none
}

// ownRecord is what the state says of this node.
type ownRecord interface {
	Record() (node entry.Node, known bool, err error)
	Fenced() string
	Placed() error
	Need(store string) (int, error)
	Writable() error
}

// health answers those who ask whether this node may be sent requests.
type health struct {
	node   membership
	self   ownRecord
	stores []checkedDepot
	stale  bool                    // whether reads are answered without a quorum
	filled func() (float64, error) // share of the disk of the node's own files that is used

	draining atomic.Bool
	caughtUp atomic.Bool // one round since the start has been applied

	mu        sync.Mutex
	lastRound time.Time // when a round succeeded
}

func newHealth(node membership, self ownRecord, all stores, c config.Config) *health {
	h := &health{
		node: node, self: self, stale: c.Cluster.Reads != string(cluster.Strict),
		filled: func() (float64, error) { return usedShare(c.Storage.RootDirectory) },
	}
	for _, s := range all {
		one := checkedDepot{depot: s.blobs, name: s.Name}
		if s.bucket == nil && s.Name != fsm.DefaultStore {
			one.filled = func() (float64, error) { return usedShare(s.RootDirectory) }
		}
		h.stores = append(h.stores, one)
	}
	return h
}

// drain has the node say that it is not ready, from now on.
func (h *health) drain() { h.draining.Store(true) }

// handler answers the probes, without login.
func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answerProbe(w, nil) })
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, _ *http.Request) { answerProbe(w, h.started()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		switch what := r.URL.Query().Get("for"); what {
		case "":
			answerProbe(w, h.ready(r.Context()))
		case "write":
			answerProbe(w, h.writable(r.Context()))
		default:
			answerJSON(w, http.StatusBadRequest, probed{Status: "unknown", Missing: fmt.Sprintf("nothing is known of readiness for %q; ask for=write", what)})
		}
	})
	return mux
}

// probed is the answer to a probe.
type probed struct {
	Status  string `json:"status"`            // ok or unavailable
	Missing string `json:"missing,omitempty"` // the first condition that does not hold
}

func answerProbe(w http.ResponseWriter, missing error) {
	if missing != nil {
		answerJSON(w, http.StatusServiceUnavailable, probed{Status: "unavailable", Missing: missing.Error()})
		return
	}
	answerJSON(w, http.StatusOK, probed{Status: "ok"})
}

func answerJSON(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a caller that has gone away gets no answer
}

// started fails until the node was admitted once and has caught up: while it joins, its copies do not count,
// so that it could take no push. A restart does not wait for anybody: when all nodes start at once, each
// would wait for the others.
func (h *health) started() error {
	node, known, err := h.self.Record()
	switch {
	case err != nil:
		return fmt.Errorf("the state cannot be read: %w", err)
	case known && node.State != entry.Joining:
		return nil
	case known:
		return errors.New("not a member of the cluster yet: the node is catching up with the others")
	}
	if why := h.node.Waiting(); why != "" {
		return errors.New("not part of the cluster yet: " + why)
	}
	return errors.New("not part of the cluster yet")
}

// ready fails unless this node answers pulls as it should.
func (h *health) ready(ctx context.Context) error {
	if h.draining.Load() {
		return errors.New("the node is stopping")
	}
	if why := h.self.Fenced(); why != "" {
		return errors.New("the node is fenced: " + why)
	}
	if err := h.started(); err != nil {
		return err
	}
	if err := h.self.Placed(); err != nil {
		return err
	}
	for _, s := range h.stores {
		if err := s.Check(ctx); err != nil {
			return fmt.Errorf("store %s is not to be had: %w", s.name, err)
		}
	}
	node, _, err := h.self.Record()
	switch {
	case err != nil:
		return fmt.Errorf("the state cannot be read: %w", err)
	case node.State == entry.Retired || node.State == entry.Dropped:
		return errors.New("the node was removed from the cluster: empty its directory to let it join anew")
	case h.caughtUp.Load():
		return nil
	}
	err = h.round(ctx)
	if err != nil && h.stale && h.node.NoQuorum() {
		return nil // better old answers than none
	}
	return err
}

// round asks for one round, and notes that it succeeded.
func (h *health) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := h.node.ReadIndex(ctx); err != nil {
		return fmt.Errorf("no round with the leader: %w", err)
	}
	h.caughtUp.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastRound = time.Now()
	return nil
}

// writable fails unless this node can take a push.
func (h *health) writable(ctx context.Context) error {
	if err := h.ready(ctx); err != nil {
		return err
	}
	if err := h.self.Writable(); err != nil {
		return err
	}
	h.mu.Lock()
	late := time.Since(h.lastRound) > roundAge
	h.mu.Unlock()
	if late {
		if err := h.round(ctx); err != nil {
			return err
		}
	}
	if err := hasRoom("the disk", h.filled); err != nil {
		return err
	}
	for _, s := range h.stores {
		if err := h.takes(s); err != nil {
			return err
		}
	}
	return nil
}

// takes fails unless a store can take a push.
func (h *health) takes(s checkedDepot) error {
	if s.filled != nil {
		if err := hasRoom("the disk of store "+s.name, s.filled); err != nil {
			return err
		}
	}
	need, err := h.self.Need(s.name)
	if err != nil {
		return fmt.Errorf("the state cannot be read: %w", err)
	}
	if with := s.WithRoom(); with < need {
		return fmt.Errorf("%d members are alive and have room in store %s, a push needs %d", with, s.name, need)
	}
	return nil
}

func hasRoom(disk string, filled func() (float64, error)) error {
	share, err := filled()
	switch {
	case err != nil:
		return fmt.Errorf("%s cannot be asked for its room: %w", disk, err)
	case share >= fullShare:
		return fmt.Errorf("%s is filled to %.0f %%, and pushes are taken below %.0f %%", disk, 100*share, 100*fullShare)
	}
	return nil
}

// usedShare is how much of the file system under a path is used, as the blob store counts it (blobstore.Usage): what is
// kept for root is not free.
func usedShare(path string) (float64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return 0, err
	}
	return 1 - float64(fs.Bavail)/float64(max(fs.Blocks, 1)), nil
}
