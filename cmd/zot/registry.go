package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/pulls"
	"github.com/seed-16d79997/zot/jobs/repair"
)

// localStore is what this node keeps copies and uploads in: its disk, or the bucket of the cluster.
type localStore interface {
	replicated.Local
	Stat(ctx context.Context, id blobstore.CopyID) (blobstore.CopyInfo, error)
}

var (
	_ localStore = (*disk.Store)(nil)
	_ localStore = bucketStore{}
)

// openStore opens the store of the root directory, which a new node makes first. The caller closes it.
func openStore(h *home, c config.Config, u upkeep) (*disk.Store, error) {
	d := disk.Config{Dir: c.Storage.RootDirectory, Incarnation: blobstore.Incarnation(h.Incarnation), Suspect: u.suspects.Add}
	if h.New {
		if err := disk.Create(d); err != nil {
			return nil, fmt.Errorf("make the blob store: %w", err)
		}
	}
	s, err := disk.Open(d)
	if err != nil {
		return nil, fmt.Errorf("open the blob store: %w", err)
	}
	return s, nil
}

// registry is what this node serves to clients, and the store below it.
type registry struct {
	*api.Registry
	upkeep

	local  localStore
	bucket *bucketStore      // local, if that is one; else nil
	store  *replicated.Store // local, and those of other nodes
	others *others

	away     *repair.Watch
	recorder jobs.Job // records what is pulled from this node
}

// openRegistry makes the node's registry and opens its store. The caller closes it.
func openRegistry(ctx context.Context, s setting, h *home, state *fsm.State, node *cluster.Node, n *network, lines [][]byte) (*registry, error) {
	r := &registry{upkeep: newUpkeep(), others: newOthers(state, h.Incarnation, n)}
	if err := r.openLocal(ctx, s, h, state); err != nil {
		return nil, err
	}
	if err := r.connect(s, state, node, lines); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// openLocal opens the node's own store, or makes the one in a bucket.
func (r *registry) openLocal(ctx context.Context, s setting, h *home, state *fsm.State) error {
	inBucket := s.config.Storage.Bucket != nil
	err := state.View(func(v fsm.View) error { return placed(v, placeOf(s.config)) })
	if err != nil && !errors.Is(err, errNotPlaced) {
		return err
	}
	if !inBucket {
		local, err := openStore(h, s.config, r.upkeep)
		r.local = local
		return err
	}
	b, err := makeBucketStore(ctx, s.config, state, r.upkeep, s.log)
	r.local, r.bucket = b, &b
	return err
}

// connect puts the registry upon the store.
func (r *registry) connect(s setting, state *fsm.State, node *cluster.Node, lines [][]byte) (err error) {
	r.store, err = replicated.New(replicated.Config{
		Local: r.local, Shared: r.bucket != nil, Members: r.others, Transport: r.others.transport, Pace: r.pace, Logger: s.log.Named("blobs"),
	})
	if err != nil {
		return err
	}
	r.away = repair.NewWatch(r.store, s.log.Named("repair"))
	c := api.DefaultConfig()
	c.LocalReads = cluster.Reads(s.config.Cluster.Reads) == cluster.Local
	if c.UploadKeys, err = uploadKeys(lines); err != nil {
		return err
	}
	counter, recorder, err := pulls.New(pulls.Deps{Proposer: node, Logger: s.log.Named("pulls")})
	if err != nil {
		return err
	}
	r.recorder = recorder
	d := api.Deps{
		Proposer: proposals{node}, Consistency: node, State: state, Blobs: r.store,
		Peers: registries{r.others, node, r.store}, Pulls: counter, Logger: s.log.Named("api"),
	}
	if r.bucket != nil && s.config.Storage.Bucket.Redirect {
		d.Elsewhere = r.bucket
	}
	r.Registry, err = api.New(c, d)
	return err
}

// rotate takes new lines of the secret into use.
func (r *registry) rotate(lines [][]byte) error {
	keys, err := uploadKeys(lines)
	if err != nil {
		return err
	}
	return r.SetUploadKeys(keys)
}

// forOthers is what other nodes ask of this one.
func (r *registry) forOthers(own *askedNode) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/store/", r.store.Handler())
	mux.Handle("/node/", own.handler())
	return below(r.first(r.Forwarded()), mux)
}

// Close closes the store. Nothing uses it any more.
func (r *registry) Close() error {
	r.others.transport.CloseIdleConnections()
	return r.local.Close()
}

// uploadKeys are made from what the nodes share, so that each believes the upload ids of the others.
func uploadKeys(lines [][]byte) ([][]byte, error) {
	keys := make([][]byte, len(lines))
	for i, line := range lines {
		key, err := hkdf.Key(sha256.New, line, nil, "zot upload ids", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("make the key of uploads: %w", err)
		}
		keys[i] = key
	}
	return keys, nil
}

// proposals is the node as the registry proposes through it.
type proposals struct{ node *cluster.Node }

var (
	_ api.Proposer    = proposals{}
	_ api.Consistency = (*cluster.Node)(nil)
)

// Propose is the node's. What the leader will not have in the log is fsm.ErrNotAdmitted.
func (p proposals) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	result, err := p.node.Propose(ctx, payload)
	return result, admitted(err)
}

// Once returns a proposer with one request id.
func (p proposals) Once() fsm.Proposer { return once{p.node, p.node.NewRequest()} }

// once proposes one payload under one request id.
type once struct {
	node *cluster.Node
	id   entry.RequestID
}

// Propose is as that of proposals.
func (o once) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	result, err := o.node.ProposeAs(ctx, o.id, payload)
	return result, admitted(err)
}

// admitted says in the words of the state that a payload was kept out of the log: by a leader elsewhere, the
// error has come as text.
func admitted(err error) error {
	if errors.Is(err, cluster.ErrRefused) {
		return fmt.Errorf("%w: %w", fsm.ErrNotAdmitted, err)
	}
	return err
}

// below serves what lies below /v2/ by the registry and all else by rest. It looks at the path as it came:
// http.ServeMux redirects what it would write otherwise, and a client would take a redirect for an answer.
func below(registry, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/") {
			registry.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}
