package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// finding is an invariant that is broken.
type finding struct {
	Invariant int      `json:"invariant,omitempty"` // its number in docs/design; 0: the state does not fit together
	Nodes     []string `json:"nodes,omitempty"`     // where it was found
	What      string   `json:"what"`
	Mend      string   `json:"mend"`
}

// What to do about what is found.
const (
	mendCopy  = "the node gives the copy up by itself, and a new one is made of another: look again in a minute"
	mendBlob  = "new copies are made of one that is good: look again in a minute, and see what is wrong with the disks of the nodes"
	mendImage = "push the image again: that brings the bytes back"
	mendNode  = "let others take its place: 'zot cluster remove NODE'; when it is gone, empty its directory and start it anew"
	mendBug   = "this is a mistake in zot: keep the directories of all nodes as they are, and report it"
)

// checkWish is what a node is to check beside what it always does.
type checkWish struct {
	Hash   bool `json:"hash"`             // hash every copy again
	Bucket bool `json:"bucket,omitempty"` // look at the copies in buckets: one node does for all
}

// checkNote is what a node says while it checks itself. Applied and Stage are in each; of the others, one at most.
type checkNote struct {
	Applied uint64       `json:"applied"`
	Stage   stageNote    `json:"stage,omitzero"`
	Finding *finding     `json:"finding,omitempty"`
	Bad     *badCopy     `json:"bad,omitempty"`
	Hint    string       `json:"hint,omitempty"`   // not as it should be, and no invariant
	Missed  string       `json:"missed,omitempty"` // what could not be checked, and why
	Result  *checkResult `json:"result,omitempty"` // the last
}

// stageNote is how far a node is.
type stageNote struct {
	Name  string `json:"name"`
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"` // 0: not known
}

// badCopy is a recorded location that is not true, or of which nothing could be learnt.
type badCopy struct {
	Store  string     `json:"store"`
	Digest string     `json:"digest"`
	Copy   fsm.CopyID `json:"copy"`
	Why    string     `json:"why"`
	Unsure bool       `json:"unsure,omitempty"` // the disk would not say
	Bucket bool       `json:"bucket,omitempty"` // it is in the bucket, and not on the node that says so
	Held   int        `json:"held"`             // how many copies its blob had when this one was looked at
}

// checkResult is what a node has looked at.
type checkResult struct {
	Copies int64 `json:"copies"`
	Bytes  int64 `json:"bytes"`
	Hashed int64 `json:"hashed,omitempty"` // bytes
	// Blind are the stores of which not all of its copies were looked at.
	Blind []string `json:"blind,omitempty"`
}

const (
	selfPage = 200     // copies that are looked at in one view
	statCost = 4 << 10 // what it costs to look at a file, as if that were so many bytes
	maxBad   = 10_000  // bad copies of a node that are told one by one
	// wholeState is the largest file of a state that is checked in one read transaction, which takes two seconds
	// or so. While it lasts, the file cannot reuse what is freed, and grows.
	wholeState = 32 << 20
)

// verifiedStore is this node's own store.
type verifiedStore interface {
	Check(ctx context.Context) error
	Usage(ctx context.Context) (blobstore.Usage, error)
	Stat(ctx context.Context, id blobstore.CopyID) (blobstore.CopyInfo, error)
	Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) error
	Copies(ctx context.Context, after blobstore.CopyID) iter.Seq2[blobstore.CopyID, error]
}

// checkedStore is one of this node's stores.
type checkedStore struct {
	name    string
	store   verifiedStore
	bucket  bool // it is in a bucket that all nodes share
	suspect func(blobstore.CopyID)
}

func checkedStores(all stores) (checked []checkedStore) {
	for _, s := range all {
		checked = append(checked, checkedStore{s.Name, s.local, s.bucket != nil, s.suspects.Add})
	}
	return checked
}

// verification is what a node checks of itself while it serves: its state against itself, and its files against
// its state. It changes nothing but that bad copies are looked after, as whoever comes upon one has it done.
//
// What looks broken is looked at again after an index round, and only what stays so is said. For one node that is
// enough: no file of a recorded copy ever comes late, and none goes before this node's own state has doomed it
// (GC R10, R11).
type verification struct {
	self      entry.Incarnation
	state     *fsm.State
	stateFile string
	whole     int64 // wholeState
	stores    []checkedStore
	round     func(ctx context.Context) error // returns when the state has all that was acknowledged before
	pace      blobstore.Pace
	began     time.Time // the process
}

// inBucket reports whether it has a store in a bucket.
func (v *verification) inBucket() bool {
	return slices.ContainsFunc(v.stores, func(s checkedStore) bool { return s.bucket })
}

// check checks this node. It calls say with all that it finds, from this goroutine, and fails if it could not come
// to an end: with the context's error.
func (v *verification) check(ctx context.Context, wish checkWish, say func(checkNote)) error {
	c := &selfCheck{verification: v, say: say}
	if err := c.again(ctx); err != nil {
		c.missed("what was acknowledged lately", err)
	}
	var all []*storeCheck
	for _, s := range v.stores {
		one := &storeCheck{selfCheck: c, checkedStore: s, bad: map[fsm.CopyID]bool{}}
		all = append(all, one)
		c.do(ctx, one.what("its doomed copies"), one.noteDoomed)
	}
	c.do(ctx, "its state", c.checkState)
	for _, one := range all {
		if one.check(ctx, wish) {
			c.result.Blind = append(c.result.Blind, one.name)
		}
	}
	c.do(ctx, "stores that its configuration does not have", c.noteMissing)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.tell(checkNote{Result: &c.result})
	for _, one := range all {
		for id, sure := range one.bad {
			if sure {
				one.suspect(blobstore.CopyID(id))
			}
		}
	}
	return nil
}

// selfCheck is one check of a node.
type selfCheck struct {
	*verification
	say    func(checkNote)
	stage  stageNote
	shown  time.Time // when the stage was last told
	broken bool      // it was said that the state cannot be relied upon
	alone  bool      // there was no index round
	result checkResult
}

// storeCheck is what a check looks at in one store.
type storeCheck struct {
	*selfCheck
	checkedStore
	copies, bytes int64               // that were looked at
	bad           map[fsm.CopyID]bool // false: nothing could be learnt of it
	doomed        []fsm.DoomedCopy    // some of those that were when the check began
}

// holder is of the locations that this node looks at.
func (c *storeCheck) holder() entry.Incarnation {
	if c.bucket {
		return entry.Incarnation{}
	}
	return c.self
}

// what names the store beside something of it, where there are several.
func (c *storeCheck) what(of string) string {
	if len(c.stores) > 1 {
		of += " in store " + c.name
	}
	return of
}

// check checks one store, and reports whether it is blind: not all of its copies were looked at.
func (c *storeCheck) check(ctx context.Context, wish checkWish) (blind bool) {
	if c.bucket && !wish.Bucket {
		c.do(ctx, c.what("the bucket"), c.store.Check)
		return false
	}
	if !c.do(ctx, c.what("its store"), c.store.Check) {
		return true
	}
	blind = !c.do(ctx, c.what("its copies"), c.checkCopies)
	c.do(ctx, c.what("its unknown files"), c.checkFiles)
	if wish.Hash {
		c.do(ctx, c.what("the bytes of its copies"), c.hashCopies)
	}
	c.do(ctx, c.what("its doomed copies"), c.checkDoomed)
	return blind || len(c.bad) > maxBad
}

func (c *selfCheck) tell(n checkNote) {
	n.Stage = c.stage
	c.shown = time.Now()
	c.say(n)
}

// progress tells how far a stage is, at times.
func (c *selfCheck) progress(done int64) {
	c.stage.Done = done
	if time.Since(c.shown) > 200*time.Millisecond {
		c.tell(checkNote{})
	}
}

// do does a part of the check, and reports whether it came to its end.
func (c *selfCheck) do(ctx context.Context, what string, part func(context.Context) error) bool {
	if ctx.Err() != nil {
		return false
	}
	err := part(ctx)
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil:
	case errors.Is(err, fsm.ErrDamaged):
		c.unreliable(fmt.Sprintf("the state cannot be read as it was written: %v", err))
		c.missed(what, err)
	default:
		c.missed(what, err)
	}
	return false
}

// noteMissing says of which stores copies are recorded on this node that it cannot look at.
func (c *selfCheck) noteMissing(context.Context) error {
	var all []string
	err := c.state.View(func(v fsm.View) error {
		for _, s := range v.Stores() {
			ours := slices.ContainsFunc(c.stores, func(one checkedStore) bool { return one.name == s.Name })
			if !ours && v.HeldIn(c.self, s.Name).Copies > 0 {
				all = append(all, s.Name)
			}
		}
		return nil
	})
	for _, name := range all {
		c.missed("its copies in store "+name, errNoSubPath)
	}
	c.result.Blind = append(c.result.Blind, all...)
	return err
}

func (c *selfCheck) missed(what string, err error) {
	c.tell(checkNote{Missed: fmt.Sprintf("%s: %v", what, err)})
}

// unreliable says that the state of this node is not that of the others, once.
func (c *selfCheck) unreliable(what string) {
	if !c.broken {
		c.broken = true
		c.tell(checkNote{Finding: &finding{Invariant: 7, What: what, Mend: mendNode}})
	}
}

// again returns after an index round. Once there was none the node's own state stands for itself.
func (c *selfCheck) again(ctx context.Context) error {
	if c.alone {
		return nil
	}
	err := c.round(ctx)
	c.alone = err != nil
	if c.state.Fenced() != "" { // it will say so
		return nil
	}
	return err
}

// checkState checks the state against itself: in one view, or in pages if it is large.
func (c *selfCheck) checkState(ctx context.Context) error {
	c.stage = stageNote{Name: "state"}
	c.tell(checkNote{})
	if why := c.state.Fenced(); why != "" {
		c.unreliable("the node is fenced: " + why)
	}
	file, err := os.Stat(c.stateFile)
	if err != nil {
		return err
	}
	if file.Size() > c.whole {
		return c.checkPages(ctx)
	}
	var lines []string
	if err := c.state.View(func(v fsm.View) error { lines = v.Check(); return nil }); err != nil {
		return err
	}
	for _, line := range lines {
		c.unfit(line)
	}
	return nil
}

// unfit says what does not fit together in the state.
func (c *selfCheck) unfit(line string) {
	f := finding{What: line, Mend: mendBug}
	if rest, numbered := strings.CutPrefix(line, "invariant "); numbered {
		number, what, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			f.Invariant, f.What = n, what
		}
	}
	if f.Invariant == 7 {
		f.Mend = mendNode
	}
	c.tell(checkNote{Finding: &f})
}

// lifetime lets what takes long begin until its owner ends, and then ends it.
type lifetime struct {
	mu      sync.Mutex
	over    bool
	ends    map[*context.CancelFunc]struct{}
	working sync.WaitGroup
}

// errStopping is for what is asked of a node that ends.
var errStopping = errors.New("the node is stopping")

// Run returns when ctx has ended, and all that was begun with it.
func (l *lifetime) Run(ctx context.Context) error {
	<-ctx.Done()
	l.mu.Lock()
	l.over = true
	for end := range l.ends {
		(*end)()
	}
	l.mu.Unlock()
	l.working.Wait()
	return nil
}

// begin returns a context that ends with ctx or the owner, whichever is first. The caller calls done.
func (l *lifetime) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		cancel()
		return nil, nil, errStopping
	}
	if l.ends == nil {
		l.ends = map[*context.CancelFunc]struct{}{}
	}
	l.ends[&cancel] = struct{}{}
	l.working.Add(1)
	return ctx, func() {
		cancel()
		l.mu.Lock()
		delete(l.ends, &cancel)
		l.mu.Unlock()
		l.working.Done()
	}, nil
}
