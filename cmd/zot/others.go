package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/api"
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/replicated"
	"github.com/seed-16d79997/zot/cluster"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/cluster/peer"
	"github.com/seed-16d79997/zot/fsm"
)

const (
	blobConns   = 64               // idle connections kept to each node
	blobIdle    = 90 * time.Second // for so long
	blobBuffer  = 64 << 10         // of each connection, for reading and for writing
	maxPassedOn = 1 << 20          // of the header of a request: what a client sends, up to maxHeader, and what nodes say of it
	watchEvery  = time.Second      // a node that a request was passed on to is looked at so often
	watchMisses = 5                // and given up when it was out of reach so many times in a row
	othersGrace = 5 * time.Second  // how long what other nodes have begun may take when the node stops: they can go elsewhere
)

var errSilent = errors.New("the node has stopped answering")

// others is how the stores and registries of the nodes reach each other: HTTP over connections of the blob
// protocol, where a URL's host is the incarnation of whoever must answer.
type others struct {
	state     *fsm.State
	self      entry.Incarnation
	network   *network // nil in a cluster of one
	transport *http.Transport
}

func newOthers(state *fsm.State, self entry.Incarnation, n *network) *others {
	o := &others{state: state, self: self, network: n}
	o.transport = &http.Transport{
		DialContext:         o.dial,
		MaxIdleConnsPerHost: blobConns,
		IdleConnTimeout:     blobIdle,
		DisableCompression:  true,
		ReadBufferSize:      blobBuffer,
		WriteBufferSize:     blobBuffer,
	}
	return o
}

// dial opens a connection to the node that address names by its incarnation.
func (o *others) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	who, err := entry.ParseIncarnation(host)
	if err != nil {
		return nil, err
	}
	if o.network == nil {
		return nil, replicated.ErrNodeUnknown
	}
	places, err := o.places(who)
	if err != nil {
		return nil, err
	}
	stream := o.network.peer.Stream(peer.BlobProtocol)
	var failed error
	for _, place := range places {
		c, err := stream.Dial(ctx, peer.Target{Address: place, Incarnation: host})
		if err == nil {
			return c, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// places are where a node may be found: where the state says, and where gossip has seen it. Who answers
// proves its incarnation.
//
// It fails with replicated.ErrNodeUnknown if the state has no such node, or not any more.
func (o *others) places(who entry.Incarnation) ([]string, error) {
	var node entry.Node
	err := o.state.View(func(v fsm.View) error {
		var known bool
		if node, known = v.Node(who); !known || node.State == entry.Dropped {
			return fmt.Errorf("%w: %s", replicated.ErrNodeUnknown, who)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	places := []string{node.Address}
	if seen := o.network.seen()[who.String()]; seen != "" && seen != node.Address {
		places = append(places, seen)
	}
	return places, nil
}

// holders are those who may hold copies of a store; for replicated.Config.
type holders struct {
	*others
	store string
}

// Membership says who they are.
func (o holders) Membership() (m replicated.Membership, err error) {
	m.Self.Incarnation = blobstore.Incarnation(o.self)
	err = o.state.View(func(v fsm.View) error {
		draining := v.Draining()
		for _, node := range v.Nodes() {
			member := replicated.Member{
				Incarnation: blobstore.Incarnation(node.Incarnation), Zone: node.Zone, Draining: slices.Contains(draining, node.Incarnation),
			}
			switch {
			case node.Incarnation == o.self:
				m.Self, m.Counts = member, node.State == entry.Member
			case node.State == entry.Member:
				m.Others = append(m.Others, member)
			}
		}
		m.Need, m.Time = v.Need(o.store), blobstore.Time(v.Time())
		s, _ := v.Store(o.store)
		m.Replicas = max(s.Numbers.Replicas, m.Need)
		return nil
	})
	return m, err
}

// registries are the registries of the other nodes; it is what api.Peers asks for.
type registries struct {
	*others
	node   *cluster.Node
	stores stores
}

var _ api.Peers = registries{}

// Self is this node.
func (r registries) Self() blobstore.Incarnation { return blobstore.Incarnation(r.self) }

// Leader is another node that leads, as far as this one knows.
func (r registries) Leader() (blobstore.Incarnation, bool) {
	leader, known := r.node.Leader()
	return blobstore.Incarnation(leader), known && leader != r.self
}

// FindUpload asks the others who has an upload to a store, which this node has too.
func (r registries) FindUpload(ctx context.Context, store string, id blobstore.UploadID) (blobstore.Incarnation, blobstore.Upload, error) {
	return r.stores.named(store).blobs.FindUpload(ctx, id)
}

// Silence is how long another node has not answered this one, of whichever store it was asked.
func (r registries) Silence(of blobstore.Incarnation) time.Duration {
	least := r.stores[0].blobs.Silence(of)
	for _, s := range r.stores[1:] {
		least = min(least, s.blobs.Silence(of))
	}
	return least
}

// reachable reports whether another node has answered lately, of whichever store it was asked.
func (r registries) reachable(i blobstore.Incarnation) bool {
	return slices.ContainsFunc(r.stores, func(s *store) bool { return s.blobs.Reachable(i) })
}

// Forward has another node answer a request. If it fails, nothing was written to w. A node that falls silent
// meanwhile is given up: on a line that is cut, TCP alone would take a quarter of an hour to.
func (r registries) Forward(w http.ResponseWriter, request *http.Request, to blobstore.Incarnation) error {
	ctx, cancel := context.WithCancelCause(request.Context())
	defer cancel(nil)
	watched := make(chan struct{})
	defer func() { cancel(nil); <-watched }()
	go func() { // waited for above
		defer close(watched)
		r.watch(ctx, to, cancel)
	}()
	var failed error
	proxy := httputil.ReverseProxy{
		Transport:     r.transport,
		FlushInterval: -1, // a body goes on as it comes
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", to.String()
			p.Out.Host = p.In.Host
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:     hclog.NewNullLogger().StandardLogger(nil), // the error goes to the caller
	}
	proxy.ServeHTTP(w, request.WithContext(ctx))
	if failed != nil {
		return fmt.Errorf("pass the request on to node %s: %w", to, errors.Join(failed, context.Cause(ctx)))
	}
	return nil
}

// watch ends a request when the node that answers it has been out of reach for a while. It returns when ctx ends.
func (r registries) watch(ctx context.Context, to blobstore.Incarnation, end context.CancelCauseFunc) {
	look := time.NewTicker(watchEvery)
	defer look.Stop()
	for missed := 0; missed < watchMisses; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if missed++; r.reachable(to) {
			missed = 0
		}
	}
	end(errSilent)
}

// serveOthers answers what other nodes ask of this one's store and registry, until ctx ends.
func serveOthers(ctx context.Context, n *network, handler http.Handler, log hclog.Logger) error {
	server := newServer(handler, log.Named("others"))
	server.MaxHeaderBytes = maxPassedOn
	server.IdleTimeout = 2 * blobIdle // who dials closes first, so that no request meets a closing connection
	l := n.peer.Stream(peer.BlobProtocol)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // waited for below
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return shutDown(context.WithoutCancel(ctx), server, served, othersGrace) // ctx has ended
	}
}
