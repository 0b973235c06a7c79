package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// shelves are nodes that share one state, each with a store of its own.
type shelves struct {
	t     *testing.T
	dir   string // of the state
	state *fsm.State
	nodes []*shelf
	bare  bool  // there are no stores, and so no files
	date  int64 // of the entries, in Unix milliseconds; 0: 1
}

// shelf is a node's store. Before hooks are called ahead of what they are named for, once.
type shelf struct {
	*disk.Store
	dir       string
	self      entry.Incarnation
	all       *shelves
	suspected []blobstore.CopyID

	beforeStat   func(blobstore.CopyID)
	beforeVerify func(blobstore.Blob)
	statFails    error
	noRound      error
}

// Stat is the store's.
func (n *shelf) Stat(ctx context.Context, id blobstore.CopyID) (blobstore.CopyInfo, error) {
	if do := n.beforeStat; do != nil {
		n.beforeStat = nil
		do(id)
	}
	if n.statFails != nil {
		return blobstore.CopyInfo{}, n.statFails
	}
	return n.Store.Stat(ctx, id)
}

// Verify is the store's.
func (n *shelf) Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) error {
	if do := n.beforeVerify; do != nil {
		n.beforeVerify = nil
		do(b)
	}
	return n.Store.Verify(ctx, b, pace)
}

func (n *shelf) round(context.Context) error { return n.noRound }

func incarnation(n int) entry.Incarnation { return entry.Incarnation{0: byte(n), 15: byte(n)} }

// newShelves are so many members of a cluster; three copies, of which two are waited for.
func newShelves(t *testing.T, members int) *shelves {
	t.Helper()
	return shelvesOf(t, members, false)
}

func shelvesOf(t *testing.T, members int, bare bool) *shelves {
	t.Helper()
	s := &shelves{t: t, dir: t.TempDir(), bare: bare}
	s.open()
	t.Cleanup(func() { _ = s.state.Close() })
	must(s, fsm.SetStore{Name: fsm.DefaultStore, GCDelay: time.Hour, Replicas: 3, WriteAcks: 2})
	for range members {
		s.join()
	}
	return s
}

func (s *shelves) open() {
	s.t.Helper()
	state, err := fsm.Open(fsm.Config{Dir: s.dir, Incarnation: incarnation(1), NoSync: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.state = state
}

// join adds a member.
func (s *shelves) join() {
	s.t.Helper()
	n := &shelf{self: incarnation(len(s.nodes) + 1), all: s}
	must(s, fsm.NodeStarted{Node: entry.Node{Incarnation: n.self, Name: fmt.Sprintf("zot-%d", len(s.nodes)), Level: 1}})
	must(s, fsm.NodeJoined{Incarnation: n.self})
	s.nodes = append(s.nodes, n)
	if s.bare {
		return
	}
	n.dir = s.t.TempDir()
	config := disk.Config{Dir: n.dir, Incarnation: blobstore.Incarnation(n.self)}
	err := disk.Create(config)
	if err == nil {
		n.Store, err = disk.Open(config)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = n.Close() })
}

// Propose applies a payload as the next entry, a second of state time after the one before.
func (s *shelves) Propose(_ context.Context, payload []byte) (entry.Result, error) {
	if err := s.state.Admit(payload); err != nil {
		return entry.Result{}, err
	}
	at := s.state.Position()
	return s.state.Apply([]entry.Entry{{
		Index: at.Index + 1, Term: 1, Kind: entry.Command, Payload: payload,
		Envelope: entry.Envelope{Term: 1, Time: at.Time.Add(time.Second), Date: max(s.date, 1)},
	}})[0], nil
}

// must applies a command that may not be refused.
func must[R any](s *shelves, cmd fsm.CommandOf[R]) R {
	s.t.Helper()
	r, err := fsm.Do(s.t.Context(), s, cmd)
	if err != nil {
		s.t.Fatalf("%T: %v", cmd, err)
	}
	return r
}

// write makes a copy of a text that the state does not know.
func (n *shelf) write(text string) fsm.Location {
	t := n.all.t
	t.Helper()
	if n.all.bare {
		return fsm.Location{Incarnation: n.self, Copy: fsm.CopyID(blobstore.NewCopyID())}
	}
	ctx, id := t.Context(), blobstore.UploadID(blobstore.NewCopyID())
	err := n.CreateUpload(ctx, id, "", 1)
	if err == nil {
		_, err = n.Append(ctx, id, 0, strings.NewReader(text), 1)
	}
	if err == nil {
		_, err = n.Finish(ctx, id, digest.FromString(text))
	}
	var made []blobstore.Location
	if err == nil {
		made, err = n.Publish(ctx, id)
	}
	if err = errors.Join(err, n.RemoveUpload(ctx, id)); err != nil {
		t.Fatal(err)
	}
	return fsm.Location{Incarnation: n.self, Copy: fsm.CopyID(made[0].Copy)}
}

const repository = "team/app"

// record records copies of a text.
func (s *shelves) record(text string, at ...fsm.Location) {
	s.t.Helper()
	must(s, fsm.BlobStored{
		Repository: repository, Store: fsm.DefaultStore, Digest: digestFor(text), Size: int64(len(text)), Stamp: s.state.Position().Time, Locations: at,
	})
}

// push makes a blob with copies on some nodes, counted from 0.
func (s *shelves) push(text string, on ...int) {
	s.t.Helper()
	var at []fsm.Location
	for _, n := range on {
		at = append(at, s.nodes[n].write(text))
	}
	s.record(text, at...)
}

// image makes a manifest of blobs that are there, or an index of manifests, with a tag of the same text.
func (s *shelves) image(body string, blobs, manifests []string) {
	s.t.Helper()
	cmd := fsm.PutManifest{
		Repository: repository, Store: fsm.DefaultStore, Digest: digestFor(body), Size: int64(len(body)), Body: []byte(body),
		MediaType: "application/vnd.oci.image.manifest.v1+json", Tags: []fsm.TagMove{{Tag: body}},
	}
	for _, b := range blobs {
		cmd.Blobs = append(cmd.Blobs, digestFor(b))
	}
	for _, m := range manifests {
		cmd.Manifests = append(cmd.Manifests, digestFor(m))
	}
	must(s, cmd)
}

func digestFor(text string) fsm.Digest {
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		panic(err)
	}
	return d
}

// blob is what the state knows of a blob.
func (s *shelves) blob(text string) (b fsm.Blob) {
	s.t.Helper()
	if err := s.state.View(func(v fsm.View) error { b, _ = v.Blob(fsm.DefaultStore, digestFor(text)); return nil }); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// at is where the node's copy of a text is recorded.
func (n *shelf) at(text string) fsm.Location {
	n.all.t.Helper()
	for _, c := range n.all.blob(text).Copies {
		if c.Incarnation == n.self {
			return c.Location
		}
	}
	n.all.t.Fatalf("%s has no copy of %q", n.self, text)
	return fsm.Location{}
}

func (n *shelf) file(id fsm.CopyID) string {
	return filepath.Join(n.dir, "copies", id.String()[:2], id.String())
}

// lose removes the file of the node's copy of a text.
func (n *shelf) lose(text string) {
	n.all.t.Helper()
	removeFile(n.all.t, n.file(n.at(text).Copy))
}

// giveUp gives the node's copy of a text up, as scrub does, and removes its file, as the sweeper does.
func (n *shelf) giveUp(text string) {
	n.all.t.Helper()
	at := n.at(text)
	must(n.all, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor(text), Location: at})
	n.sweep(at.Copy)
}

// sweep removes the file of a doomed copy.
func (n *shelf) sweep(id fsm.CopyID) {
	n.all.t.Helper()
	if !n.all.bare {
		removeFile(n.all.t, n.file(id))
	}
	must(n.all, fsm.CopyRemoved{Incarnation: n.self, Store: fsm.DefaultStore, Copies: []fsm.CopyID{id}})
}

// said is what a node said of itself.
type said struct {
	findings      []string
	bad           []badCopy
	hints, missed []string
	result        checkResult
}

// verification is that of the node, which has run for long.
func (n *shelf) verification() *verification {
	return &verification{
		self: n.self, state: n.all.state, stateFile: filepath.Join(n.all.dir, fsm.FileName), whole: wholeState,
		stores: []checkedStore{{name: fsm.DefaultStore, store: n, suspect: func(id blobstore.CopyID) { n.suspected = append(n.suspected, id) }}},
		round:  n.round,
		pace:   func(ctx context.Context, _ int) error { return ctx.Err() }, began: time.Now().Add(-365 * 24 * time.Hour),
	}
}

// check has the node check itself.
func (n *shelf) check(adjust ...func(*verification, *checkWish)) (s said) {
	n.all.t.Helper()
	v, wish := n.verification(), checkWish{}
	for _, a := range adjust {
		a(v, &wish)
	}
	err := v.check(n.all.t.Context(), wish, func(note checkNote) {
		switch {
		case note.Finding != nil:
			s.findings = append(s.findings, fmt.Sprintf("%d %s", note.Finding.Invariant, note.Finding.What))
		case note.Bad != nil:
			s.bad = append(s.bad, *note.Bad)
		case note.Hint != "":
			s.hints = append(s.hints, note.Hint)
		case note.Missed != "":
			s.missed = append(s.missed, note.Missed)
		case note.Result != nil:
			s.result = *note.Result
		}
	})
	if err != nil {
		n.all.t.Fatal(err)
	}
	return s
}

func hashed(_ *verification, w *checkWish) { w.Hash = true }

func paged(v *verification, _ *checkWish) { v.whole = 0 }

// well fails if a node said that anything is not.
func (n *shelf) well(s said) {
	n.all.t.Helper()
	if len(s.findings)+len(s.bad)+len(s.hints)+len(s.missed) > 0 || len(s.result.Blind) > 0 || len(n.suspected) > 0 {
		n.all.t.Errorf("%+v, suspected %v", s, n.suspected)
	}
}

func TestNodeChecksItself(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 3)
	large := strings.Repeat("large", blobstore.ChunkSize)
	s.push(large, 0, 1, 2)
	s.push("small", 1, 2)
	s.image("image", []string{large, "small"}, nil)
	n := s.nodes[1]
	for _, adjust := range []func(*verification, *checkWish){func(*verification, *checkWish) {}, paged, hashed} {
		got := n.check(adjust)
		n.well(got)
		if want := int64(len(large) + 5); got.result.Copies != 2 || got.result.Bytes != want || got.result.Hashed != 0 && got.result.Hashed != want {
			t.Errorf("%+v", got.result)
		}
	}

	n.lose("small")
	cut(t, n.file(n.at(large).Copy))
	for range 2 {
		got := n.check(hashed)
		slices.SortFunc(got.bad, func(a, b badCopy) int { return strings.Compare(b.Why, a.Why) })
		if len(got.bad) != 2 || got.bad[0].Why != "its file is gone" || got.bad[0].Held != 2 || !strings.HasPrefix(got.bad[1].Why, "its file has 7 bytes, not 1310720") ||
			got.bad[1].Held != 3 || got.bad[0].Unsure || len(n.suspected) != 2 {
			t.Errorf("%+v, suspected %v", got, n.suspected)
		}
		n.suspected = nil
		n.noRound = errors.New("no quorum") // which makes no difference
	}
}

// Rot is a fact, also when the copy was given up by the time that the state is asked.
func TestNodeHashesItsCopies(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 3)
	s.push("rotten", 0, 1, 2)
	n := s.nodes[0]
	file := n.file(n.at("rotten").Copy)
	if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte("Rotten"), 0o600)); err != nil {
		t.Fatal(err)
	}
	n.well(n.check())
	if got := n.check(hashed); len(got.bad) != 1 || got.bad[0].Unsure || got.bad[0].Digest != digest.FromString("rotten").String() {
		t.Errorf("%+v", got)
	}
	n.beforeVerify = func(blobstore.Blob) {
		must(s, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("rotten"), Location: n.at("rotten")})
	}
	if got := n.check(hashed); len(got.bad) != 1 {
		t.Errorf("given up meanwhile: %+v", got)
	}
}

// What is collected, given up or moved while a node looks is not said to be broken.
func TestNodeChecksItselfWhileCopiesMove(t *testing.T) {
	t.Parallel()
	for name, race := range map[string]func(s *shelves, n *shelf){
		"given up before its file is looked at": func(_ *shelves, n *shelf) { n.beforeStat = func(blobstore.CopyID) { n.giveUp("b") } },
		"doomed, and removed before it is looked at again": func(s *shelves, n *shelf) {
			n.beforeStat = func(blobstore.CopyID) {
				at := n.at("b")
				must(s, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("b"), Location: at})
				removeFile(s.t, n.file(at.Copy))
			}
		},
		"collected": func(s *shelves, n *shelf) {
			n.beforeStat = func(blobstore.CopyID) {
				at := n.at("b")
				must(s, fsm.DeleteBlob{Repository: repository, Digest: digestFor("b")})
				must(s, fsm.CollectBlobs{Store: fsm.DefaultStore, Digests: []fsm.Digest{digestFor("b")}})
				n.sweep(at.Copy)
			}
		},
		"replaced by a push": func(s *shelves, n *shelf) {
			n.beforeStat = func(blobstore.CopyID) {
				old := n.at("b")
				s.push("b", 0, 1)
				n.sweep(old.Copy)
			}
		},
		"moved to another node": func(s *shelves, n *shelf) {
			n.beforeStat = func(blobstore.CopyID) {
				old := n.at("b")
				must(s, fsm.AddCopy{Store: fsm.DefaultStore, Digest: digestFor("b"), Location: s.nodes[3].write("b"), Stamp: s.state.Position().Time, Instead: &old})
				n.sweep(old.Copy)
			}
		},
		"given up while all are hashed": func(_ *shelves, n *shelf) { n.beforeVerify = func(blobstore.Blob) { n.giveUp("b") } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelves(t, 4)
			s.push("b", 0, 1, 2)
			n := s.nodes[0]
			race(s, n)
			n.well(n.check(hashed))
			if n.beforeStat != nil || n.beforeVerify != nil {
				t.Error("nothing raced")
			}
		})
	}
}

// A copy of which the disk says nothing is not taken for bad, and a store that is away has none.
func TestNodeCannotLook(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 3)
	s.push("b", 0, 1, 2)
	n := s.nodes[0]
	n.statFails = errors.New("too many open files")
	if got := n.check(); len(got.bad) != 1 || !got.bad[0].Unsure || len(n.suspected) > 0 {
		t.Errorf("%+v, suspected %v", got, n.suspected)
	}
	n.statFails = nil
	n.noRound = errors.New("no quorum")
	if got := n.check(); len(got.missed) != 1 || !strings.Contains(got.missed[0], "no quorum") || len(got.bad) > 0 || len(got.result.Blind) > 0 {
		t.Errorf("%+v", got)
	}
	n.noRound = nil
	removeFile(t, disk.MarkerPath(n.dir))
	n.lose("b")
	if got := n.check(hashed); len(got.missed) != 1 || !strings.Contains(got.missed[0], "its store: ") || len(got.bad) > 0 || len(got.result.Blind) == 0 {
		t.Errorf("%+v", got)
	}
}

// The marker goes while the node looks.
func TestNodeLosesItsMarker(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 3)
	s.push("b", 0, 1, 2)
	n := s.nodes[0]
	n.beforeStat = func(id blobstore.CopyID) {
		removeFile(t, disk.MarkerPath(n.dir))
		removeFile(t, n.file(fsm.CopyID(id)))
	}
	if got := n.check(); len(got.bad) > 0 || len(got.result.Blind) == 0 || len(got.missed) == 0 {
		t.Errorf("%+v", got)
	}
}

// The last copy of a blob that is known to be damaged is nothing new.
func TestNodeKnowsThatABlobIsDamaged(t *testing.T) {
	t.Parallel()
	s := newShelves(t, 2)
	s.push("the last", 0, 1)
	s.nodes[1].giveUp("the last")
	n := s.nodes[0]
	must(s, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("the last"), Location: n.at("the last")})
	n.lose("the last")
	n.well(n.check(hashed))
}

func TestNodeHasUnknownFiles(t *testing.T) {
	t.Parallel()
	const long, lately = 48 * time.Hour, time.Minute
	for name, test := range map[string]struct {
		written, began time.Duration // ago
		race           func(s *shelves, at fsm.Location)
		hint           bool
	}{
		"for long":                     {written: long, began: long, hint: true},
		"only just":                    {written: lately, began: long},
		"since shortly after a start":  {written: long, began: lately},
		"until they are recorded":      {written: long, began: long, race: func(s *shelves, at fsm.Location) { s.record("b", at, s.nodes[1].write("b")) }},
		"until the sweeper takes them": {written: long, began: long, race: func(s *shelves, at fsm.Location) { removeFile(s.t, s.nodes[0].file(at.Copy)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShelves(t, 2)
				n := s.nodes[0]
				at := n.write("b")
				if err := os.Chtimes(n.file(at.Copy), time.Time{}, time.Now().Add(-test.written)); err != nil {
					t.Fatal(err)
				}
				got := n.check(func(v *verification, _ *checkWish) {
					v.began = time.Now().Add(-test.began)
					v.round = func(context.Context) error {
						// The second round comes after the files were listed.
						if n.noRound == nil {
							n.noRound = errors.New("again")
							return nil
						}
						if test.race != nil {
							test.race(s, at)
							test.race = nil
						}
						return nil
					}
				})
				if (len(got.hints) == 1) != test.hint || test.hint && !strings.Contains(got.hints[0], at.Copy.String()) || len(got.findings)+len(got.bad)+len(got.missed) > 0 {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// Doomed copies are waited for; those that stay are told.
func TestNodeHasDoomedCopies(t *testing.T) {
	t.Parallel()
	for name, sweeps := range map[string]bool{"removed": true, "left": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShelves(t, 3)
				s.push("b", 0, 1, 2)
				n := s.nodes[0]
				at := n.at("b")
				must(s, fsm.GiveUpCopy{Store: fsm.DefaultStore, Digest: digestFor("b"), Location: at})
				if sweeps {
					sweeping := time.AfterFunc(5*time.Second, func() { n.sweep(at.Copy) })
					defer sweeping.Stop()
				}
				began := time.Now()
				got := n.check()
				if sweeps {
					n.well(got)
				} else if len(got.hints) != 1 || !strings.Contains(got.hints[0], at.Copy.String()) {
					t.Errorf("%+v", got)
				}
				if took := time.Since(began); sweeps != (took < removalTime) {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// spoil changes the file of a state behind its back. What the records add up to is then another sum, too.
func (s *shelves) spoil(change func(b func(name string) *bbolt.Bucket) error) {
	s.t.Helper()
	if err := s.state.Close(); err != nil {
		s.t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(s.dir, fsm.FileName), 0o600, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return change(func(name string) *bbolt.Bucket { return tx.Bucket([]byte(name)) })
	})
	if err = errors.Join(err, db.Close()); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// A state that does not fit together is found in one view, and in pages.
func TestNodeChecksItsState(t *testing.T) {
	t.Parallel()
	one := within(repository, digestFor("layer"))
	for name, test := range map[string]struct {
		spoil func(b func(name string) *bbolt.Bucket) error
		want  string // among the findings
	}{
		"a link is gone": {func(b func(string) *bbolt.Bucket) error { return b("links").Delete(one) }, "2 "},
		"a name is gone": {func(b func(string) *bbolt.Bucket) error { return b("namedBy").Delete(namedBy("layer", "image")) }, "3 "},
		"a child is gone": {func(b func(string) *bbolt.Bucket) error {
			return b("manifests").Delete(within(repository, digestFor("image")))
		}, "2 "},
		"a tag names what is gone": {func(b func(string) *bbolt.Bucket) error {
			return b("manifests").Delete(within(repository, digestFor("index")))
		}, "0 tag index of team/app"},
		"a body is another's": {func(b func(string) *bbolt.Bucket) error {
			return put2(b("bodies"), within(repository, digestFor("image")), "imagE")
		}, "11 "},
		"a link is not in the index": {func(b func(string) *bbolt.Bucket) error {
			return b("linked").Delete(append(within(fsm.DefaultStore, digestFor("layer")), repository...))
		}, "0 "},
		"a repository counts what is gone": {func(b func(string) *bbolt.Bucket) error { return b("links").Delete(one) }, "0 repository team/app is said to have "},
		"a prefix does not count": {func(b func(string) *bbolt.Bucket) error {
			return b("below").Delete(within("team", ""))
		}, `0 below "team" there are said to be 0 repositories with 0 bytes, and there are 1 with `},
		"a sum": {func(b func(string) *bbolt.Bucket) error {
			return put2(b("local"), []byte("sum/tags"), strings.Repeat("s", 32))
		}, "7 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, adjust := range []func(*verification, *checkWish){func(*verification, *checkWish) {}, paged} {
				s := newShelves(t, 2)
				s.push("layer", 0, 1)
				s.image("image", []string{"layer"}, nil)
				s.image("index", nil, []string{"image"})
				s.nodes[0].well(s.nodes[0].check(adjust))
				s.spoil(test.spoil)
				got := s.nodes[0].check(adjust)
				if !slices.ContainsFunc(got.findings, func(f string) bool { return strings.HasPrefix(f, test.want) }) {
					t.Errorf("no %q in %q", test.want, got.findings)
				}
				if !slices.ContainsFunc(got.findings, func(f string) bool { return strings.HasPrefix(f, "7 ") }) {
					t.Errorf("the sums are well: %q", got.findings)
				}
			}
		})
	}
}

// A record that cannot be read as it was written is one finding, and what could not be checked for it is named.
func TestNodeCannotReadItsState(t *testing.T) {
	t.Parallel()
	for _, adjust := range []func(*verification, *checkWish){func(*verification, *checkWish) {}, paged} {
		s := newShelves(t, 2)
		s.push("layer", 0, 1)
		s.spoil(func(b func(string) *bbolt.Bucket) error {
			return b("blobs").Put(within(fsm.DefaultStore, digestFor("layer")), []byte("rotten"))
		})
		got := s.nodes[0].check(adjust)
		if len(got.findings) != 1 || !strings.HasPrefix(got.findings[0], "7 ") || len(got.missed) == 0 || len(got.result.Blind) == 0 {
			t.Errorf("%+v", got)
		}
		// It is fenced by now, which is the same to whoever asks.
		if got := s.nodes[0].check(adjust); len(got.findings) != 1 || !strings.HasPrefix(got.findings[0], "7 the node is fenced") {
			t.Errorf("%+v", got)
		}
	}
}

// within is a key of a record.
func within(name string, d fsm.Digest) []byte { return append(append([]byte(name), 0), d...) }

func namedBy(blob, manifest string) []byte {
	return append(append(append([]byte(repository), 0, 'b'), digestFor(blob)...), digestFor(manifest)...)
}

// put2 changes a record.
func put2(b *bbolt.Bucket, key []byte, value string) error {
	return b.Put(key, append(checksum(key, []byte(value)), value...))
}

// What takes long ends with the node, and nothing begins after.
func TestLifetime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l lifetime
		node, stop := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- l.Run(node) }() // waited for below
		ctx, done, err := l.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, other, err := l.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		other()
		stop()
		synctest.Wait()
		if ctx.Err() == nil || len(over) > 0 {
			t.Errorf("what was begun has %v, and %d are over", ctx.Err(), len(over))
		}
		if _, _, err := l.begin(t.Context()); !errors.Is(err, errStopping) {
			t.Errorf("begun after the end: %v", err)
		}
		done()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}
