package peer

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// MaxMeta is the most that GossipConfig.Meta may return, in bytes.
const MaxMeta = 112

const (
	maxAdvertise  = 253 + 1 + 5      // a host name, a colon and a port
	rejoinPeriod  = 15 * time.Second // how often the addresses of Join that no member has are tried again
	leaveTimeout  = time.Second
	streamTimeout = 5 * time.Second
)

// GossipConfig is what NewGossip needs.
type GossipConfig struct {
	Advertise string        // host:port under which the others reach this node; a name that lasts
	Meta      func() []byte // what the others are told beside it, MaxMeta bytes at most (else nothing is); may be nil
	Logger    hclog.Logger  // default: the peer's
}

// Gossip learns from any node that it reaches where the others are.
//
// It is a hint and nothing else: which addresses may be worth a try, and when to try them again. A node that it shows
// may be gone, a node that it does not show may be well, and a name may be shown twice (a replaced disk). Nothing may be
// removed, counted as durable or answered to a reader because of it.
//
// It runs hashicorp/memberlist on UDP packets at the peer's port number, sealed with keys from the secret, and on
// streams of GossipProtocol. A node's name in memberlist is its incarnation, which is unique. Where it is travels as
// metadata, since memberlist knows only IP addresses and its members keep theirs for life, while ours have names that
// last over changes of address; so all carry the same address there, and memberlist resolves nothing.
type Gossip struct {
	peer      *Peer
	config    GossipConfig
	logger    hclog.Logger
	transport *gossipTransport
	changed   chan struct{}
	wake      chan struct{}

	mu      sync.Mutex
	seeds   []string
	members map[string]gossiped // by incarnation
}

// gossiped is kept also while a node is not alive: it is still to be told that it is believed dead.
type gossiped struct {
	Member
	alive bool
}

// NewGossip binds the UDP port that has the number of the peer's TCP port, and starts nothing. A Gossip that is not
// run keeps the port; Run with a context that has ended gives it back.
//
// Errors: Advertise is not host:port or too long, or the port cannot be bound.
func (p *Peer) NewGossip(config GossipConfig) (*Gossip, error) {
	if _, _, err := net.SplitHostPort(config.Advertise); err != nil {
		return nil, fmt.Errorf("gossip: advertised address %q: %w", config.Advertise, err)
	}
	if len(config.Advertise) > maxAdvertise {
		return nil, fmt.Errorf("gossip: the advertised address has %d bytes, at most %d are allowed", len(config.Advertise), maxAdvertise)
	}
	packets, err := p.network.ListenPacket(p.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("gossip: listen for packets: %w", err)
	}
	g := &Gossip{
		peer:    p,
		config:  config,
		logger:  config.Logger,
		changed: make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		members: make(map[string]gossiped),
	}
	if g.logger == nil {
		g.logger = p.logger
	}
	g.transport = newGossipTransport(g, packets)
	return g, nil
}

// Join says whom to look for, instead of what was said before. Those that no member is known to have as its address
// are contacted now, and again from time to time.
func (g *Gossip) Join(addresses []string) {
	g.mu.Lock()
	g.seeds = slices.Clone(addresses)
	g.mu.Unlock()
	notify(g.wake)
}

// Members returns those believed to run, this node included once Run has started, in the order of their names.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	var members []Member
	for _, m := range g.members {
		if m.alive {
			members = append(members, m.Member)
		}
	}
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return members
}

// Changed wakes its reader when Members may answer differently from before. Several changes may wake him once.
func (g *Gossip) Changed() <-chan struct{} { return g.changed }

// Run gossips until ctx ends, then tells the others that this node goes, and gives the port back. It is to end
// before the peer's Run. memberlist does not let itself be waited for: some goroutines of its own end within a
// probe's second after Run has returned; those of this package have ended.
//
// It returns nil when ctx ended, and an error when memberlist did not start. It runs once.
func (g *Gossip) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, g.transport.cut) // a join may be waiting for a node that does not answer
	defer stop()
	g.transport.start()
	list, err := memberlist.Create(g.memberlistConfig())
	if err != nil {
		_ = g.transport.Shutdown()
		return fmt.Errorf("gossip: %w", err)
	}
	g.tend(ctx, list)
	if err := list.Leave(leaveTimeout); err != nil {
		g.logger.Debug("gossip leaves without having told the others", "error", err)
	}
	return list.Shutdown()
}

// tend looks for those of Join that are missing, and spreads metadata that has changed.
func (g *Gossip) tend(ctx context.Context, list *memberlist.Memberlist) {
	ticker := time.NewTicker(rejoinPeriod)
	defer ticker.Stop()
	for {
		if missing := g.missing(); len(missing) > 0 {
			if n, err := list.Join(missing); err != nil {
				g.logger.Debug("gossip reaches none of those it looks for", "addresses", missing, "error", err)
			} else {
				g.logger.Debug("gossip joined", "nodes", n)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-ticker.C:
			g.spread(list)
		}
	}
}

func (g *Gossip) spread(list *memberlist.Memberlist) {
	if string(list.LocalNode().Meta) == string(g.metadata()) {
		return
	}
	if err := list.UpdateNode(leaveTimeout); err != nil {
		g.logger.Debug("gossip has told nobody of changed metadata yet", "error", err)
	}
}

// missing returns the addresses to join in memberlist's form NAME/IP:PORT. The name carries the address, for
// the transport to dial; the IP keeps memberlist from asking a name server.
func (g *Gossip) missing() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := map[string]bool{g.config.Advertise: true}
	for _, m := range g.members {
		known[m.Address] = known[m.Address] || m.alive
	}
	var missing []string
	for _, address := range g.seeds {
		if !known[address] && address != "" && !strings.Contains(address, "/") {
			missing = append(missing, address+"/"+sameAddress)
		}
	}
	return missing
}

// sameAddress stands for every node's address inside memberlist.
const sameAddress = "0.0.0.0:1"

func (g *Gossip) memberlistConfig() *memberlist.Config {
	config := memberlist.DefaultLANConfig()
	config.Name = g.peer.self.Incarnation
	config.Label = g.peer.cluster // clusters that share a secret do not mix
	config.Transport = g.transport
	config.Keyring = g.peer.keyring
	config.TCPTimeout = streamTimeout
	config.DeadNodeReclaimTime = time.Second
	config.RequireNodeNames = true // an address without a name leads nowhere
	config.Delegate = delegate{g}
	config.Events = delegate{g}
	config.Alive = delegate{g}
	// Nobody has to act on a hint that is missing, and memberlist warns once a second where packets do not get through.
	config.Logger = g.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	return config
}

// metadata is what the others are told about this node.
func (g *Gossip) metadata() []byte {
	m := Member{Name: g.peer.self.Node, Address: g.config.Advertise}
	if g.config.Meta != nil {
		m.Meta = g.config.Meta()
	}
	if len(m.Meta) > MaxMeta {
		g.logger.Error("gossip metadata is too long, none is sent", "bytes", len(m.Meta), "most", MaxMeta)
		m.Meta = nil
	}
	return m.encode()
}

// learn is called with memberlist's lock held, so it calls nothing of memberlist's.
func (g *Gossip) learn(node *memberlist.Node, alive bool) {
	m, err := decodeMember(node.Name, node.Meta)
	if err != nil {
		return // NotifyAlive has said so
	}
	g.mu.Lock()
	g.members[m.Incarnation] = gossiped{Member: m, alive: alive}
	g.mu.Unlock()
	notify(g.changed)
}

func (g *Gossip) addressOf(incarnation string) (string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.members[incarnation]
	return m.Address, ok
}

// notify wakes a reader without waiting for him.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
