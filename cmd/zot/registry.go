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
	"github.com/seed-16d79997/zot/api/ext"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cmd/zot/config"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/pulls"
	"github.com/seed-16d79997/zot/jobs/repair"
)

// registry is what this node serves to clients, and the stores below it.
type registry struct {
	*api.Registry
	upkeep

	stores   stores
	others   *others
	recorder jobs.Job // records what is pulled from this node
}

// openRegistry makes the node's registry and opens its stores. The caller closes it.
func openRegistry(ctx context.Context, s setting, h *home, state *fsm.State, node *cluster.Node, n *network, lines [][]byte) (*registry, error) {
	all, err := openStores(ctx, s, h, state)
	if err != nil {
		return nil, err
	}
	r := &registry{upkeep: newUpkeep(), stores: all, others: newOthers(state, h.Incarnation, n)}
	if err := r.connect(s, state, node, lines); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// connect puts the registry upon the stores.
func (r *registry) connect(s setting, state *fsm.State, node *cluster.Node, lines [][]byte) (err error) {
	for _, one := range r.stores {
		one.blobs, err = replicated.New(replicated.Config{
			Name: one.Name, Local: one.local, Shared: one.bucket != nil, Members: holders{r.others, one.Name}, Transport: r.others.transport,
			Pace: r.pace, Logger: s.log.Named("blobs").With("store", one.Name),
		})
		if err != nil {
			return err
		}
		one.away = repair.NewWatch(one.Name, one.blobs, s.log.Named("repair"))
	}
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
	r.Registry, err = api.New(c, api.Deps{
		Proposer: proposals{node}, Consistency: node, State: state, Stores: r.stores,
		Peers: r.peers(node), Pulls: counter, Gate: s.gate.Gate, Logger: s.log.Named("api"),
	})
	return err
}

// clients makes what clients are answered by, as a configuration says: the registry, and what is served beside it.
func clients(c config.Config, s setting, r *registry, node *cluster.Node, state *fsm.State, h *health, before fronts) (http.Handler, error) {
	extra, err := extensions(c, s, r, node, state)
	if err != nil {
		return nil, err
	}
	probes := contained(h.handler(), s.log.Named("http"))
	return before.around(c, probes, limited(extra.Before(below(r.first(r), probes)), c.HTTP)), nil
}

// peers are the registries of the other nodes.
func (r *registry) peers(node *cluster.Node) registries { return registries{r.others, node, r.stores} }

// extensions are served beside the registry, as a configuration says.
func extensions(of config.Config, s setting, r *registry, node *cluster.Node, state *fsm.State) (*ext.Extensions, error) {
	a, on := of.HTTP.Auth, of.Extensions
	c := ext.Config{APIKeys: a.APIKeys, Preferences: on.Marks}
	if on.Mgmt {
		c.Mgmt = &ext.Mgmt{DistSpecVersion: config.DistSpecVersion, Commit: commit(s.version), ReleaseTag: s.version, BinaryType: "zot"}
		switch {
		case a.Bearer != nil:
			c.Mgmt.HTTP.Auth = &ext.MgmtAuth{Bearer: &ext.MgmtBearer{Realm: a.Bearer.Realm, Service: a.Bearer.Service}}
		case a.LogsIn():
			c.Mgmt.HTTP.Auth = &ext.MgmtAuth{OpenID: shownProviders(a.OpenID), APIKey: a.APIKeys}
			if a.Passwords() {
				c.Mgmt.HTTP.Auth.Htpasswd = &struct{}{}
			}
		}
	}
	if on.Trust.Cosign {
		c.Signatures = append(c.Signatures, fsm.Cosign)
	}
	if on.Trust.Notation {
		c.Signatures = append(c.Signatures, fsm.Notation)
	}
	return ext.New(c, ext.Deps{Registry: r.Registry, Gate: s.gate.Gate, Proposer: proposals{node}, Consistency: node, State: state})
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
func (r *registry) forOthers(own *askedNode, before fronts) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/store/", replicated.Handler(r.stores.blobStores()...))
	mux.Handle("/node/", own.handler())
	return below(before.forwarded(r.first(r.Forwarded())), mux)
}

// Close closes the stores. Nothing uses them any more.
func (r *registry) Close() error {
	r.others.transport.CloseIdleConnections()
	return r.stores.Close()
}

// uploadKeys are made from what the nodes share, so that each believes the upload ids of the others.
func uploadKeys(lines [][]byte) ([][]byte, error) { return sharedKeys(lines, "zot upload ids") }

// sharedKeys makes a key of 32 bytes of each line of the secret, for one use of it.
func sharedKeys(lines [][]byte, use string) ([][]byte, error) {
	keys := make([][]byte, len(lines))
	for i, line := range lines {
		key, err := hkdf.Key(sha256.New, line, nil, use, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("make the key of %s: %w", use, err)
		}
		keys[i] = key
	}
	return keys, nil
}

// proposals is the node as the registry proposes through it. Without a quorum it fails after some seconds (whileQuorum).
type proposals struct{ node *cluster.Node }

var (
	_ api.Proposer    = proposals{}
	_ api.Consistency = (*cluster.Node)(nil)
)

// Propose is the node's. What the leader will not have in the log is fsm.ErrNotAdmitted.
func (p proposals) Propose(ctx context.Context, payload []byte) (entry.Result, error) {
	ctx, end := whileQuorum(ctx, p.node)
	defer end()
	result, err := p.node.Propose(ctx, payload)
	return result, admitted(forWant(ctx, err))
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
	ctx, end := whileQuorum(ctx, o.node)
	defer end()
	result, err := o.node.ProposeAs(ctx, o.id, payload)
	return result, admitted(forWant(ctx, err))
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
