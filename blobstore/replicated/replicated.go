// Package replicated keeps each blob on several nodes: one store of this node, and what the other nodes'
// stores do for it. It is a blobstore.Store like any other, so that who uses one does not see how many nodes
// there are.
//
// The way in: an upload lies in the store of the node that got its first bytes. Senders (sender.go) follow
// its file and stream what is there to other nodes while it grows. That file is the one place that bytes are
// sent from, so that a peer which is slow, comes late, comes back or takes another's place is no special
// case, and what is in memory does not depend on the size of anything. Finish and Publish wait for as many
// copies as the replicated state asks for, and a little longer for the rest.
//
// The way out: Open reads this node's own copy or streams one from another node, and goes on at the same
// offset elsewhere when a source dies, falls silent or is damaged (stream.go).
//
// The package may not know Raft, the state or the network: who the nodes are is told by Cluster, and
// http.RoundTripper reaches them. What other nodes ask of this one is answered by Handler; both ends trust
// each other, because the transport has proved who they are, yet every copy is verified by the node that
// makes it.
//
// Invariants kept here: 1 (nothing counts that its holder has not just verified and made durable) and 11
// (bytes are handed on only after their holder has checked them; those of a whole blob that come from
// elsewhere are hashed as they flow). With no other nodes every call is the local store's, at its cost.
//
// Start reading at Store, then push.go and sender.go, finish.go and publish.go, stream.go; handler.go is the
// other end.
package replicated

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/blobstore"
)

// Local is the store of this node, and its unfinished uploads as files that others follow.
type Local interface {
	blobstore.Store
	// OpenUpload opens the bytes of an unfinished upload for reading at any offset below Upload().Offset, while it
	// is written. The caller closes it.
	//   - blobstore.ErrUploadUnknown
	//   - blobstore.ErrUploadEnded
	OpenUpload(ctx context.Context, id blobstore.UploadID) (blobstore.UploadReader, error)
}

// Member is a node whose copies count.
type Member struct {
	Incarnation blobstore.Incarnation
	Zone        string // "" is not known: it is taken for one that no other node is in
	Draining    bool   // it is to be emptied: it gets a copy only if too few others take one
}

// Membership is what the replicated state says of who may hold copies.
type Membership struct {
	Self     Member
	Counts   bool           // this node is a member: its own copy counts
	Others   []Member       // the other members
	Replicas int            // how many copies a blob should have
	Need     int            // how many of them a push waits for, as Apply would count now
	Time     blobstore.Time // the state time as this node knows it: that of uploads made for repair
}

// Cluster says who the nodes are. It may be asked often and concurrently.
type Cluster interface {
	// Membership is that of the newest state that this node has applied. Its slice is not changed any more.
	Membership() (Membership, error)
}

// ErrNodeUnknown is what the transport's error wraps if no node has the incarnation any more: its copies are
// gone with it. Every other error means that the node did not answer.
var ErrNodeUnknown = errors.New("no node has this incarnation")

// Pace is that of a node: what moves in the background waits for it, and it is told what moves for clients.
// Its methods are called concurrently.
type Pace interface {
	// Wait returns when n more bytes may be moved in the background, or the context's error.
	Wait(ctx context.Context, n int) error
	// Serve says that a client is being served, until done is called.
	Serve() (done func())
}

// noPace holds nothing back.
type noPace struct{}

func (noPace) Wait(context.Context, int) error { return nil }
func (noPace) Serve() func()                   { return func() {} }

// Config is what a store is made of.
type Config struct {
	Name    string // of the store: what nodes ask each other of it has it in its path
	Local   Local
	Members Cluster
	// Shared says that Local is one store for all nodes, as in a bucket: what one has made every other can read, so
	// that nothing is sent to others. They are asked for uploads alone, which are each node's own.
	Shared bool
	// Transport takes requests to http://<incarnation>/store/<name>/... to the Handler of that node: 32 hexadecimal
	// digits, lower case.
	Transport http.RoundTripper
	Pace      Pace         // of what is read and written to give blobs their missing copies; nil is no limit
	Logger    hclog.Logger // nil logs nothing
	Timing    Timing
}

// Timing is how long what may take. A zero stands for the value of DefaultTiming.
type Timing struct {
	Poll      time.Duration // between two questions to each node how it is, and for the answer
	Stall     time.Duration // a peer that takes no bytes for so long, while there are some, is slow
	Answer    time.Duration // and one that says for so long not whether the digest is right
	Retry     time.Duration // until a peer that failed is tried again; doubled each time, eight times at most
	Idle      time.Duration // a stream to a peer ends when no bytes came for so long, and goes on by another
	Finish    time.Duration // for Finish and Publish to have as many copies as they must
	GraceMin  time.Duration // they wait for the other copies as long again as for those, but not less than this
	GraceMax  time.Duration // and not more
	FirstByte time.Duration // a source that has not begun to send is left for the next, if there is one
	Silence   time.Duration // and one that has stopped
	Patience  time.Duration // the same two, if there is no other that has not failed
	Find      time.Duration // for all answers to FindUpload
	Tidy      time.Duration // to remove an upload that a peer has no more use for
}

// DefaultTiming is for nodes that are a few milliseconds apart.
func DefaultTiming() Timing {
	return Timing{
		Poll: 2 * time.Second, Stall: 2 * time.Second, Answer: 5 * time.Second, Retry: time.Second,
		Idle: 10 * time.Second, Finish: 30 * time.Second, GraceMin: 200 * time.Millisecond, GraceMax: 2 * time.Second,
		FirstByte: time.Second, Silence: 3 * time.Second, Patience: 15 * time.Second, Find: time.Second, Tidy: 5 * time.Second,
	}
}

// orDefault fills in what is zero.
func (t Timing) orDefault() Timing {
	d := DefaultTiming()
	for _, v := range []struct{ have, want *time.Duration }{
		{&t.Poll, &d.Poll},
		{&t.Stall, &d.Stall},
		{&t.Answer, &d.Answer},
		{&t.Retry, &d.Retry},
		{&t.Idle, &d.Idle},
		{&t.Finish, &d.Finish},
		{&t.GraceMin, &d.GraceMin},
		{&t.GraceMax, &d.GraceMax},
		{&t.FirstByte, &d.FirstByte},
		{&t.Silence, &d.Silence},
		{&t.Patience, &d.Patience},
		{&t.Find, &d.Find},
		{&t.Tidy, &d.Tidy},
	} {
		if *v.have == 0 {
			*v.have = *v.want
		}
	}
	return t
}

// Store is a blobstore.Store on several nodes. What is about this node alone (its copies, its uploads, how
// full it is) is the local store's.
type Store struct {
	Local
	name    string
	cluster Cluster
	shared  bool
	peers   *peers
	health  *health
	tasks   *tasks
	pace    Pace
	log     hclog.Logger
	timing  Timing
	chunks  sync.Pool // of *[]byte, each a chunk long
	closed  atomic.Bool

	mu     sync.Mutex
	pushes map[blobstore.UploadID]*push
}

var _ blobstore.Store = (*Store)(nil)

// New returns a store that has asked no other node yet, or an error if something is missing in c.
func New(c Config) (*Store, error) {
	if c.Name == "" || c.Local == nil || c.Members == nil || c.Transport == nil {
		return nil, errors.New("replicated store: a name, local store, members and transport are needed")
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Pace == nil {
		c.Pace = noPace{}
	}
	return &Store{
		Local:   c.Local,
		name:    c.Name,
		cluster: c.Members,
		shared:  c.Shared,
		peers:   newPeers(c.Name, c.Transport),
		health:  newHealth(),
		tasks:   &tasks{log: c.Logger},
		pace:    c.Pace,
		log:     c.Logger,
		timing:  c.Timing.orDefault(),
		chunks:  sync.Pool{New: func() any { b := make([]byte, blobstore.ChunkSize); return &b }},
		pushes:  map[blobstore.UploadID]*push{},
	}, nil
}

// Close closes the local store and waits for nothing. Streams that are open go on.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.mu.Lock()
	pushes := s.pushes
	s.pushes = map[blobstore.UploadID]*push{}
	s.mu.Unlock()
	for _, p := range pushes {
		p.leave()
	}
	if err := s.Local.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
