// Package api is the distribution specification over HTTP: pushes, pulls and listings of one node, on top
// of the replicated state and a blob store.
//
// It may not know how an order is agreed on, or how nodes reach each other: what it needs of the cluster it
// declares as Proposer, Consistency and Peers, and whoever builds a Registry fills them. So it is tested
// without Raft. Nor does it read configuration, or know where the copies of a blob lie: that is the store's
// business. Of other nodes it knows two things: an upload is at one of them, its owner (owner.go), and the
// leader can answer a read when this node is behind (consistency.go).
//
// Start with routes.go, a line for each endpoint. request.go turns a path into a value; stores.go finds the store of a repository; uploads.go and
// finish.go are the way in of a blob, blobs.go its way out; put_manifest.go and manifests.go the same for
// manifests. Handlers return errors; errors.go alone turns one into an answer.
//
// Its part of the invariants: 1 (201 only after BlobStored was applied), 2 and 6 (a tag is read after a
// round, or the answer says that it is stale), 9 (a set of copy ids is proposed under one request id) and
// 11 (a stream whose bytes turn out to be bad is cut off).
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
)

// Proposer puts commands into the replicated log. Its methods may be called concurrently.
//
// Its errors say that a command is not decided, or that nobody knows what became of it: the client is
// told to come again. Only a payload that must not enter the log is a fault of ours; such an error is
// fsm.ErrNotAdmitted.
type Proposer interface {
	fsm.Proposer
	// Once returns a proposer for one payload, which proposes it under one request id however often it
	// is asked to (GC R6).
	Once() fsm.Proposer
}

// Consistency says how new this node's state is. Its methods may be called concurrently.
type Consistency interface {
	// Read returns when a read of the state is linearizable, or may be answered all the same because
	// there is evidence of no quorum: then it is stale. It fails if neither is so in time.
	Read(ctx context.Context) (stale bool, err error)
	// ReadIndex is Read that is never stale.
	ReadIndex(ctx context.Context) error
	// NoQuorum reports whether there is evidence of no quorum: that for which Read is stale. It asks nobody, and may
	// be so for a while when there is one again.
	NoQuorum() bool
}

// State is the replicated state of this node.
type State interface {
	// View calls fn with the newest applied state and returns its error.
	View(fn func(v fsm.View) error) error
}

// Pulls counts what is pulled. A pull is a GET of a manifest, by a tag or a digest, that this node answers, also
// when it only confirms what the client has; a HEAD is none, for so clients ask whether there is anything new.
type Pulls interface {
	// Pulled counts one. It waits for nothing, and may be called concurrently.
	Pulled(repository string, d fsm.Digest)
}

// Config is the numbers of a Registry.
type Config struct {
	// UploadKeys sign the ids of uploads: the first signs, all verify. Nodes that are to know each
	// other's ids have the same.
	UploadKeys [][]byte
	// Idle is how long a client may send nothing, or take nothing, in the middle of a body. There is
	// no limit to the whole: a large layer over a slow line arrives.
	Idle time.Duration
	// RetryAfter is when a client is told to come again.
	RetryAfter time.Duration
	// Silence is how long a push may hear nothing before it is told that work goes on. It is less than
	// what a load balancer waits: 50 s, in the example that zot's users have copied.
	Silence time.Duration
	// MaxBodies is how many requests may send bytes of uploads at once, and ManifestMemory how many bytes of
	// manifests are held at once. Who comes on top of that is told to come again.
	MaxBodies, ManifestMemory int64
	// BaseURL stands before the path in each Location, for clients that take no path alone. "" is right for all
	// others, behind any proxy: only the client knows what it calls this registry. What a proxy says of itself
	// in headers is never asked.
	BaseURL string
	// LocalReads says that Consistency never asks for newer state (cluster.reads: local): that something was
	// not found is answered then, and marked as stale.
	LocalReads bool
}

// DefaultConfig is all but the keys.
func DefaultConfig() Config {
	return Config{Idle: time.Minute, RetryAfter: time.Second, Silence: 40 * time.Second, MaxBodies: 512, ManifestMemory: 256 << 20}
}

// validate returns an error if some number makes no sense.
func (c Config) validate() error {
	if c.Idle <= 0 || c.RetryAfter <= 0 || c.Silence <= 0 {
		return fmt.Errorf("idle time %s, retry time %s and silence %s must be more than 0", c.Idle, c.RetryAfter, c.Silence)
	}
	if c.MaxBodies < 1 || c.ManifestMemory < maxManifestWeight {
		return fmt.Errorf("room for %d uploads and %d bytes of manifests is none for a request, which takes 1 and %d", c.MaxBodies, c.ManifestMemory, maxManifestWeight)
	}
	if c.BaseURL == "" {
		return nil
	}
	u, err := url.Parse(c.BaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.HasSuffix(c.BaseURL, "/") {
		return fmt.Errorf("base URL %q is not like https://registry.example", c.BaseURL)
	}
	return nil
}

// Deps is what a Registry works with.
type Deps struct {
	Proposer    Proposer
	Consistency Consistency
	State       State
	Stores      Stores
	Peers       Peers             // nil: there are no others
	Pulls       Pulls             // nil: nobody counts
	Gate        func() *auth.Gate // of the moment; nil, or one that returns nil: everybody may do everything
	Logger      hclog.Logger      // nil: none
}

// Registry answers requests below /v2/. It starts nothing, and may serve any number of them at once.
type Registry struct {
	config      Config
	proposer    Proposer
	consistency Consistency
	state       State
	stores      Stores
	peers       Peers // nil: there are no others
	pulls       Pulls
	gate        func() *auth.Gate
	log         hclog.Logger
	signer      atomic.Pointer[signer]
	commits     *commits
	limits      limits
	bodies      *bodies
	routes      map[endpoint]map[string]handler
}

// New returns a Registry. It fails if something is missing that it cannot do without.
func New(config Config, deps Deps) (*Registry, error) {
	signer, err := newSigner(config.UploadKeys)
	if err != nil {
		return nil, err
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	if deps.Proposer == nil || deps.Consistency == nil || deps.State == nil || deps.Stores == nil {
		return nil, errors.New("a registry needs a proposer, a consistency, a state and stores")
	}
	if deps.Logger == nil {
		deps.Logger = hclog.NewNullLogger()
	}
	if deps.Gate == nil {
		deps.Gate = func() *auth.Gate { return nil }
	}
	if deps.Pulls == nil {
		deps.Pulls = uncounted{}
	}
	g := &Registry{
		config: config, proposer: deps.Proposer, consistency: deps.Consistency, state: deps.State,
		stores: deps.Stores, peers: deps.Peers, pulls: deps.Pulls, gate: deps.Gate, log: deps.Logger, commits: newCommits(), limits: newLimits(config), bodies: newBodies(maxBodies),
	}
	g.signer.Store(signer)
	g.routes = g.table()
	return g, nil
}

// uncounted is for pulls that nobody counts.
type uncounted struct{}

func (uncounted) Pulled(string, fsm.Digest) {}

// ServeHTTP answers one request. Whatever goes wrong in it, a panic too, ends that request alone.
func (g *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.answer(g.newAnswer(w, r), r, g.dispatch)
}

func (g *Registry) answer(w *answer, r *http.Request, h func(w *answer, r *http.Request) error) {
	err := g.serve(w, r, h)
	w.end(r, err)
	if err != nil && !errors.Is(err, errAnswered) {
		g.fail(w, r, err)
	}
	w.wait() // for what is not sent yet
}

// serve has h answer. A panic becomes an error.
func (g *Registry) serve(w *answer, r *http.Request, h func(w *answer, r *http.Request) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, and nobody wraps it
				panic(p)
			}
			err = blobstore.Panicked(p)
		}
	}()
	return h(w, r)
}

// dispatch finds out who asks, and has the handler of its endpoint answer, if they may.
func (g *Registry) dispatch(w *answer, r *http.Request) error {
	if !w.forwarded && !w.operator {
		if err := w.gate.Elsewhere(r); err != nil {
			return err
		}
	}
	if err := g.identify(w, r); err != nil {
		return err
	}
	h, q, err := g.route(w, r)
	if err != nil {
		return err
	}
	w.caller = w.caller.To(q.reference.Tag, q.named())
	if err := allow(w.caller, r.Method, q); err != nil {
		return err
	}
	return h(w, r, q)
}
