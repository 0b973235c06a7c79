package modelfsm_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/test/model"
)

// cluster is the real thing, without Raft: one log, and states that have applied some of it.
type cluster struct {
	world
	dir string
	r   *rand.Rand

	log     []entry.Entry
	results []entry.Result // of the newest state
	newest  *fsm.State
	nodes   [model.MaxNodes]*node
	bucket  shelf // with S3
	term    uint64
	lead    uint8  // ticks that the leader's time is ahead, if they get in with the next entry
	hashed  uint64 // the newest entry at which the hash was noted

	digests   []fsm.Digest
	manifests []fsm.PutManifest
	claims    [model.MaxClaims]*claim // in the model's slots
	past      []*claim                // that the model has forgotten
	index     map[fsm.CopyID]place    // copies of claims
	made      uint64                  // incarnations, copy ids and requests, for the next one's name

	broken func(fsm.Command) fsm.Command // nil: as it is
}

// noSync is files that nobody waits for.
type noSync struct{ fsm.Files }

func (noSync) Sync(string) error { return nil }

func (noSync) SyncDir(string) error { return nil }

// node is one incarnation.
type node struct {
	incarnation entry.Incarnation
	dir         string
	state       *fsm.State // nil: its disk is lost, or it was removed
	applied     int        // entries
	files       shelf
	known       map[fsm.CopyID]fsm.CopyState // what its state says of copies; a cache
	now         entry.Time                   // as it has applied
	retirement  uint64
}

// shelf is the files of a disk, or of a bucket.
type shelf map[fsm.CopyID]*file

type file struct {
	bad    bool
	marked bool
	at     entry.Time // of the mark
}

// claim is an upload or a repair.
type claim struct {
	repair       bool
	repo, digest int
	stamp        entry.Time
	copies       [model.MaxNodes]fsm.Location // by store; zero: none
	acks         []int                        // stores, in order
	hashed       [model.MaxNodes]uint64       // the retirement after which each copy was hashed

	proposed int // the entry that proposed it last, from 1
}

// place is where a copy belongs.
type place struct {
	claim *claim
	slot  int
	store int
}

// proposer is in the ids of all requests.
func proposer() entry.Incarnation { return entry.Incarnation{0xff, 0xff} }

// begin makes the members, the store, and what clients will push.
func (c *cluster) begin() {
	c.term = 1
	c.newest = c.open(entry.Incarnation{0xff}, filepath.Join(c.dir, "newest"))
	store := fsm.SetStore{Name: fsm.DefaultStore, GCDelay: c.gcDelay, Replicas: c.R, WriteAcks: c.W}
	if c.S3 {
		store.Place = fsm.Place{Bucket: "bucket"}
	}
	must(c.accept(c.propose(store)))
	for n := range c.N {
		c.admit(n)
	}
	c.bucket = shelf{}
	for d := range c.D {
		c.digests = append(c.digests, pack(digest.FromString(fmt.Sprintf("blob %d", d))))
	}
	for m, man := range c.Mans {
		put := fsm.PutManifest{
			Repository: repository(int(man.Repo)), Store: fsm.DefaultStore, MediaType: "application/vnd.oci.image.manifest.v1+json",
			Tags: []fsm.TagMove{{Tag: "newest"}},
		}
		for d := range c.D {
			if man.Refs&(1<<d) != 0 {
				put.Blobs = append(put.Blobs, c.digests[d])
			}
		}
		if last := len(put.Blobs) - 1; m == c.large {
			put.Digest, put.Blobs, put.Size = put.Blobs[last], put.Blobs[:last], 1<<20
		} else {
			put.Body = fmt.Appendf(nil, "manifest %d", m)
			put.Digest, put.Size = pack(digest.FromBytes(put.Body)), int64(len(put.Body))
		}
		c.manifests = append(c.manifests, put)
	}
}

func repository(n int) string { return fmt.Sprintf("repository/%d", n) }

func pack(d digest.Digest) fsm.Digest {
	p, err := fsm.Pack(d)
	must(err)
	return p
}

func (c *cluster) close() error {
	var errs []error
	for _, n := range c.nodes {
		if n != nil {
			errs = append(errs, n.close())
		}
	}
	if c.newest != nil {
		errs = append(errs, c.newest.Close())
	}
	return errors.Join(errs...)
}

func (n *node) close() error {
	if n.state == nil {
		return nil
	}
	s := n.state
	n.state, n.files = nil, shelf{}
	return errors.Join(s.Close(), os.RemoveAll(n.dir))
}

func (c *cluster) open(i entry.Incarnation, dir string) *fsm.State {
	must(os.MkdirAll(dir, 0o700))
	s, err := fsm.Open(fsm.Config{Dir: dir, Incarnation: i, NoSync: true, Files: noSync{fsm.SystemFiles()}})
	must(err)
	return s
}

// number is one that nothing else has.
func (c *cluster) number() uint64 {
	c.made++
	return c.made
}

// Entries.

// now is the state time of the newest entry.
func (c *cluster) now() entry.Time { return c.newest.Position().Time }

// proposeAs makes an entry of a command under a request id, applies it to the newest state, and returns the result. The
// entry carries the leader's time.
func (c *cluster) proposeAs(id entry.RequestID, cmd fsm.Command) entry.Result {
	if c.broken != nil {
		cmd = c.broken(cmd)
	}
	payload, err := fsm.Encode(cmd)
	must(err)
	must(c.newest.Admit(payload))
	at := c.now().Add(time.Duration(c.lead) * c.tick)
	c.lead = 0
	return c.append(entry.Entry{Term: c.term, Envelope: entry.Envelope{Request: id, Term: c.term, Time: at}, Payload: payload})
}

// propose is proposeAs a request that is new.
func (c *cluster) propose(cmd fsm.Command) entry.Result { return c.proposeAs(c.request(c.now()), cmd) }

func (c *cluster) request(firstTry entry.Time) entry.RequestID {
	return entry.RequestID{Incarnation: proposer(), Random: 1, Sequence: c.number(), FirstTry: firstTry}
}

func (c *cluster) append(e entry.Entry) entry.Result {
	e.Index, e.Kind = uint64(len(c.log))+1, entry.Command
	c.log = append(c.log, e)
	result := c.newest.Apply([]entry.Entry{e})[0]
	c.results = append(c.results, result)
	if reason := c.newest.Fenced(); reason != "" {
		fail("the newest state is fenced: %s", reason)
	}
	return result
}

// tell writes an entry that carries nothing but time and the hash of the state at an earlier one, so that a state which
// differs is fenced (invariant 7).
func (c *cluster) tell(at entry.Time) {
	var check fsm.HashCheck
	if sum, ok := c.newest.Hash(c.hashed); ok {
		check = fsm.HashCheck{Index: c.hashed, Sum: sum}
	}
	payload, err := fsm.Encode(check)
	must(err)
	c.append(entry.Entry{Term: c.term, Envelope: entry.Envelope{Term: c.term, Time: at}, Payload: payload})
	c.hashed = uint64(len(c.log))
}

// enter lets the leader's time get in without a command.
func (c *cluster) enter() {
	if c.lead > 0 {
		c.tell(c.now().Add(time.Duration(c.lead) * c.tick))
		c.lead = 0
	}
}

// pass lets state time pass, in as many entries as it takes.
func (c *cluster) pass(d time.Duration) {
	for end := c.now().Add(d); c.now() < end; {
		c.tell(min(end, c.now().Add(2*c.newest.Tick())))
	}
}

// accept returns why a command was not applied.
func (c *cluster) accept(result entry.Result) error {
	if err := c.newest.Explain(result); err != nil {
		return fmt.Errorf("not applied: %w", err)
	}
	return nil
}

// Nodes.

func (c *cluster) name(kind byte) (name [16]byte) {
	name[0] = kind
	binary.BigEndian.PutUint64(name[8:], c.number())
	return name
}

// admit makes a node in slot n, from the whole log or from a snapshot.
func (c *cluster) admit(n int) {
	i := entry.Incarnation(c.name('n'))
	x := &node{incarnation: i, dir: filepath.Join(c.dir, i.String()), files: shelf{}, known: map[fsm.CopyID]fsm.CopyState{}}
	must(c.accept(c.propose(fsm.NodeStarted{Node: entry.Node{Incarnation: i, Name: fmt.Sprintf("zot-%d", n), Level: 1}})))
	must(c.accept(c.propose(fsm.NodeJoined{Incarnation: i})))
	x.state = c.open(i, x.dir)
	c.nodes[n] = x
	c.catchUp(x)
}

// catchUp makes a node apply all that is committed, in batches of any size, or install a snapshot.
func (c *cluster) catchUp(n *node) {
	if len(c.log) > n.applied {
		clear(n.known)
		if c.r.IntN(64) == 0 || n.applied == 0 && c.r.IntN(2) == 0 {
			c.install(n)
		}
	}
	for n.applied < len(c.log) {
		end := n.applied + 1 + c.r.IntN(min(40, len(c.log)-n.applied))
		for i, result := range n.state.Apply(c.log[n.applied:end]) {
			if want := c.results[n.applied+i]; !reflect.DeepEqual(result, want) {
				fail("entry %d gave %v at node %s, elsewhere %v", n.applied+i+1, n.state.Explain(result), n.incarnation, c.newest.Explain(want))
			}
		}
		n.applied = end
	}
	if reason := n.state.Fenced(); reason != "" {
		fail("node %s is fenced: %s", n.incarnation, reason)
	}
	view(n.state, func(v fsm.View) { n.now, n.retirement = v.Time(), v.Retirement() })
}

func (c *cluster) install(n *node) {
	s, err := c.newest.OpenSnapshot()
	must(err)
	p := s.Position()
	err = n.state.Stage(s)
	must(errors.Join(err, s.Close()))
	must(n.state.Install(entry.Stamp{Index: p.Index, Term: p.Term}))
	n.applied = len(c.log)
}

// restart closes a node's state and opens it again.
func (c *cluster) restart(n *node) {
	before := n.state.Position()
	must(n.state.Close())
	n.state = c.open(n.incarnation, n.dir)
	if after := n.state.Position(); !reflect.DeepEqual(before, after) {
		fail("node %s had applied %+v, and after a restart %+v", n.incarnation, before, after)
	}
}

// sees is what a node's applied state says of a copy on its own store.
func (n *node) sees(l fsm.Location) fsm.CopyState {
	s, cached := n.known[l.Copy]
	if !cached {
		view(n.state, func(v fsm.View) { s, _ = v.Copy(fsm.DefaultStore, l) })
		n.known[l.Copy] = s
	}
	return s
}

// ripe reports whether a file was marked so long ago, as the node sees it, that it may go if it is unknown.
func (n *node) ripe(f *file) (ripe bool) {
	view(n.state, func(v fsm.View) {
		store, _ := v.Store(fsm.DefaultStore)
		ripe = f.marked && v.Time().Sub(f.at) >= store.Numbers.Unknown
	})
	return ripe
}

// mayRemove is the sweeper's judgement of a file (GC R11).
func (n *node) mayRemove(l fsm.Location, f *file) bool {
	switch n.sees(l) {
	case fsm.CopyDoomed:
		return true
	case fsm.CopyUnknown:
		return n.ripe(f)
	default:
		return false
	}
}

func view(s *fsm.State, read func(v fsm.View)) {
	must(s.View(func(v fsm.View) error { read(v); return nil }))
}

// Claims and files.

func (c *cluster) store(n int) int {
	if c.S3 {
		return 0
	}
	return n
}

// shelfOf is the files of a store, nil if there is none.
func (c *cluster) shelfOf(store int) shelf {
	if c.S3 {
		return c.bucket
	}
	if c.nodes[store] == nil {
		return nil
	}
	return c.nodes[store].files
}

// fileAt is the file of a claim on a store, nil if there is none.
func (c *cluster) fileAt(store int, cl *claim) *file {
	if c.S3 && store != 0 {
		return nil
	}
	return c.shelfOf(store)[cl.copies[store].Copy]
}

// write makes a file of the claim in a slot on a store.
func (c *cluster) write(slot, store int) {
	cl := c.claims[slot]
	l := fsm.Location{Copy: fsm.CopyID(c.name('c'))}
	if !c.S3 {
		l.Incarnation = c.nodes[store].incarnation
	}
	cl.copies[store] = l
	cl.acks = append(cl.acks, store)
	c.shelfOf(store)[l.Copy] = &file{}
	c.index[l.Copy] = place{cl, slot, store}
}

// blobStored is the command of an upload.
func (c *cluster) blobStored(cl *claim) fsm.BlobStored {
	cmd := fsm.BlobStored{
		Repository: repository(cl.repo), Store: fsm.DefaultStore, Digest: c.digests[cl.digest],
		Size: int64(1000 + cl.digest), Stamp: cl.stamp,
	}
	for _, s := range cl.acks {
		cmd.Locations = append(cmd.Locations, cl.copies[s])
	}
	return cmd
}

// String is for people.
func (p place) String() string {
	return fmt.Sprintf("the copy of claim %d on store %d", p.slot, p.store)
}
