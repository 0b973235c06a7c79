// Package peer is how the nodes of a cluster talk to each other: one TCP port, mutual TLS 1.3, and one ALPN
// protocol for each kind of traffic, so that bulk bytes never share a connection with heartbeats.
//
// A connection is handed over only after both sides have proved, bound to that very TLS session, that they hold a
// line of the same secretFile, and have agreed on the cluster's name and on whose disk answers (hello.go). Whatever
// differs is named on both sides as a *RefusedError. Certificates are derived from the secret unless the operator
// brings his own (secrets.go, certificates.go). A new machine gets the secret for a token (token.go; invite.go is the
// node's side, join.go the machine's), which is the one way past the hello and leads nowhere else.
//
// On top of that lie streams (stream.go: a listener and a dialer for each protocol, Raft's among them), small calls
// over HTTP (api.go), and gossip (gossip.go), which only suggests addresses.
//
// The package knows neither Raft nor what is replicated, reads no file and no environment, and reaches the
// operating system only through Network. Start reading at Peer.Run and Peer.admit.
package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// The protocols between nodes, as ALPN names.
const (
	RaftProtocol   = "zot-raft/1"
	APIProtocol    = "zot-peer/1"
	GossipProtocol = "zot-gossip/1"
	BlobProtocol   = "zot-blob/1"
)

// Longest names, in bytes. A hello with all of them stays below its limit of 4 KiB however JSON escapes them, and
// the gossip metadata stays below memberlist's 512 bytes.
const (
	maxCluster     = 128
	maxNode        = 128
	maxIncarnation = 64
)

// Config is what New needs.
type Config struct {
	Cluster     string // name of the cluster; nodes of another name are refused; at most 128 bytes
	Node        string // stable name of this node; at most 128 bytes
	Incarnation string // of this node's data directory, 32 hex digits; opaque here, compared only
	Listen      string // host:port; port 0 lets the kernel choose

	// Secrets are the lines of the secretFile. The first signs, all verify. Space around a line does not count.
	Secrets [][]byte

	// Certificate and CA replace the certificates that are derived from the secret; both or neither. The secret is
	// still asked for. Host names in them are not looked at: the secret and the incarnation say who answers.
	Certificate *tls.Certificate
	CA          *x509.CertPool

	Network Network      // default: SystemNetwork()
	Logger  hclog.Logger // default: none
}

// Peer is this node as the other nodes see it. All methods may be called concurrently.
type Peer struct {
	self     Caller
	cluster  string
	own      *ownCertificates // nil: derived ones
	network  Network
	logger   hclog.Logger
	listener net.Listener
	bounds   bounds

	trust   atomic.Pointer[trust]
	keyring *memberlist.Keyring
	rotate  sync.Mutex // held by Rotate, so that trust and keyring change together

	mu      sync.Mutex
	streams map[string]*Stream

	spend    atomic.Pointer[Spend] // nil: nobody is taken in
	spending chan struct{}         // holds one element while it is called

	api      *api
	conns    *tracker
	lobby    *lobby
	refusals *limiter
	ran      atomic.Bool
	done     chan struct{} // closed when Run begins to end
	shut     func()        // closes all that a goroutine may be blocked on; a second caller waits for the first
}

// New checks the configuration, derives the keys and binds the listener, so that Addr is known, but starts nothing:
// connections wait in the kernel until Run. A Peer that is not run keeps its port; Run with a context that has ended
// gives it back.
//
// Errors: a name is missing or too long, no secret or one under 32 characters (the error says which line), only one
// of Certificate and CA, or no key in it, or the address cannot be bound.
func New(config Config) (*Peer, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	p := &Peer{
		self:     Caller{Node: config.Node, Incarnation: config.Incarnation},
		cluster:  config.Cluster,
		network:  config.Network,
		logger:   config.Logger,
		bounds:   bounds{handshakeTimeout, dialTimeout, callTimeout},
		streams:  make(map[string]*Stream),
		spending: make(chan struct{}, 1),
		conns:    newTracker(),
		lobby:    newLobby(maxPending),
		refusals: newLimiter(),
		done:     make(chan struct{}),
	}
	p.shut = sync.OnceFunc(p.closeAll)
	if p.network == nil {
		p.network = SystemNetwork()
	}
	if p.logger == nil {
		p.logger = hclog.NewNullLogger()
	}
	if config.Certificate != nil {
		p.own = &ownCertificates{certificate: config.Certificate, pool: config.CA}
	}
	if err := p.useSecrets(config.Secrets); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	p.api = newAPI(p)
	listener, err := p.network.Listen(config.Listen)
	if err != nil {
		return nil, fmt.Errorf("peer: listen on %s: %w", config.Listen, err)
	}
	p.listener = listener
	return p, nil
}

func (c Config) check() error {
	if (c.Certificate == nil) != (c.CA == nil) {
		return errors.New("a certificate and a CA of one's own go together: one of them is missing")
	}
	if c.Certificate != nil && (len(c.Certificate.Certificate) == 0 || c.Certificate.PrivateKey == nil) {
		return errors.New("the certificate of one's own is empty or has no key")
	}
	for _, name := range []struct {
		what, value string
		most        int
	}{
		{"cluster name", c.Cluster, maxCluster},
		{"node name", c.Node, maxNode},
		{"incarnation", c.Incarnation, maxIncarnation},
	} {
		if name.value == "" {
			return fmt.Errorf("the %s is missing", name.what)
		}
		if len(name.value) > name.most {
			return fmt.Errorf("the %s has %d bytes, at most %d are allowed", name.what, len(name.value), name.most)
		}
	}
	return nil
}

// Addr is where the listener is bound, with the port that the kernel chose.
func (p *Peer) Addr() net.Addr { return p.listener.Addr() }

// Run accepts connections and serves calls until ctx ends. Then it closes the listener and every connection,
// accepted or dialed, and waits for all goroutines of the package before it returns; nothing can be dialed afterwards.
//
// It returns nil when ctx ended, and an error when the listener broke by itself or when it was run before.
func (p *Peer) Run(ctx context.Context) error {
	if !p.ran.CompareAndSwap(false, true) {
		return errors.New("peer: run twice")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, p.shut)
	defer stop()

	var serving sync.WaitGroup
	serving.Go(func() { p.api.serve(ctx) }) // waited for below
	err := p.accept(ctx)
	cancel()
	p.shut()
	serving.Wait()
	p.conns.wait()
	return err
}

func (p *Peer) closeAll() {
	close(p.done)
	_ = p.listener.Close() // nothing is lost with a listener
	p.conns.close()
	p.api.transport.CloseIdleConnections()
}

// Rotate takes the secret's lines anew. Connections that stand go on; handshakes from now on use the new lines, with
// new certificates (own certificates stay), and idle connections of calls are closed, so that no conversation lives
// on a line that was removed for longer than its connection is busy. To change the secret of a running cluster,
// append the new line on every node, then put it first on every node, then remove the old one on every node.
//
// Errors: as New, for the lines; then nothing has changed.
func (p *Peer) Rotate(secrets [][]byte) error {
	if err := p.useSecrets(secrets); err != nil {
		return fmt.Errorf("peer: rotate: %w", err)
	}
	p.api.transport.CloseIdleConnections()
	return nil
}

func (p *Peer) useSecrets(lines [][]byte) error {
	p.rotate.Lock()
	defer p.rotate.Unlock()
	secrets, err := newSecrets(lines)
	if err != nil {
		return err
	}
	trust, err := newTrust(secrets, p.self.Node, p.own)
	if err != nil {
		return err
	}
	if err := p.useGossipKeys(secrets); err != nil {
		return err
	}
	p.trust.Store(trust)
	return nil
}

// Keys derives further keys, for tokens, from the lines as they are now. Ask again after each Rotate.
func (p *Peer) Keys() Keys { return Keys{secrets: p.trust.Load().secrets} }

func (p *Peer) party() party {
	return party{cluster: p.cluster, self: p.self, secrets: p.trust.Load().secrets}
}
