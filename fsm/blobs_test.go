package fsm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// dig is the digest of a text.
func dig(text string) fsm.Digest {
	d, err := fsm.Pack(digest.FromString(text))
	if err != nil {
		panic(err)
	}
	return d
}

// loc is copy id on node n; of a bucket if n is 0.
func loc(n, id byte) fsm.Location {
	l := fsm.Location{Copy: fsm.CopyID{id}}
	if n > 0 {
		l.Incarnation = node(n)
	}
	return l
}

// upload is the BlobStored of the blob with this text, stamped now.
func (r *replica) upload(repository, text string, locations ...fsm.Location) fsm.BlobStored {
	return fsm.BlobStored{
		Repository: repository, Store: "default", Digest: dig(text), Size: int64(len(text)),
		Locations: locations, Stamp: r.time,
	}
}

// blob is what is recorded of a blob; the test ends if nothing is.
func (r *replica) blob(text string) (b fsm.Blob) {
	r.t.Helper()
	known := false
	r.view(func(v fsm.View) { b, known = v.Blob("default", dig(text)) })
	if !known {
		r.t.Fatalf("blob %s has no record", text)
	}
	return b
}

// copiesOf lists the recorded locations of a blob, oldest first.
func (r *replica) copiesOf(text string) (all []fsm.Location) {
	r.t.Helper()
	for _, c := range r.blob(text).Copies {
		all = append(all, c.Location)
	}
	return all
}

// expectCopies compares the recorded locations of a blob.
func (r *replica) expectCopies(text string, want ...fsm.Location) {
	r.t.Helper()
	if have := r.copiesOf(text); !slices.Equal(have, want) {
		r.t.Errorf("%s is at %v, want %v", text, have, want)
	}
}

// expectDoomed compares the doomed copies on a node.
func (r *replica) expectDoomed(n byte, want ...byte) {
	r.t.Helper()
	var have []byte
	r.view(func(v fsm.View) {
		for _, d := range v.Doomed(loc(n, 0).Incarnation, fsm.DoomedCopy{}, 1000) {
			have = append(have, d.Copy[0])
		}
	})
	if !slices.Equal(have, want) {
		r.t.Errorf("doomed on node %d: %v, want %v", n, have, want)
	}
}

// link is the link of a blob, or why there is none.
func (r *replica) link(repository, text string) (l fsm.Link, err error) {
	r.t.Helper()
	r.view(func(v fsm.View) { l, err = v.Link(repository, dig(text)) })
	return l, err
}

// sound fails the test if the state breaks an invariant.
func (r *replica) sound() {
	r.t.Helper()
	r.view(func(v fsm.View) {
		for _, line := range v.Check() {
			r.t.Error(line)
		}
	})
}

func TestBlobEncodings(t *testing.T) {
	golden(t, fsm.BlobStored{
		Repository: "a/b", Store: "default", Digest: dig("x"), Size: 1, Locations: []fsm.Location{loc(1, 1), loc(2, 2)}, Stamp: 12345,
	})
	instead := loc(3, 3)
	golden(t, fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(1, 1), Stamp: 12345, Instead: &instead})
	golden(t, fsm.GiveUpCopy{Store: "default", Digest: dig("x"), Location: loc(1, 1)})
	golden(t, fsm.CopyRemoved{Incarnation: node(1), Store: "default", Copies: []fsm.CopyID{{1}, {2}}})
	golden(t, fsm.Mount{From: "a", To: "b", Digest: dig("x"), Store: "default"})
	golden(t, fsm.MoveRepository{Repository: "a", To: "b"})
	golden(t, fsm.MoveLink{
		Repository: "a", Digest: dig("x"), From: "default", To: "b", Size: 7, Locations: []fsm.Location{loc(1, 1), loc(2, 2)}, Stamp: 12345,
	})
	golden(t, fsm.RenewLease{Repository: "a", Digest: dig("x"), Store: "default"})
	golden(t, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	golden(t, fsm.CollectBlobs{
		Store: "default", Links: []fsm.LinkName{{Repository: "a", Digest: dig("x")}}, Digests: []fsm.Digest{dig("y")},
	})
	golden(t, fsm.VouchCopies{
		Incarnation: node(1), Store: "default", Retirement: 2, Copies: []fsm.BlobCopy{{Digest: dig("x"), Copy: fsm.CopyID{1}}},
	})
	golden(t, fsm.DropCopies{Incarnation: node(1), Store: "default", Digests: []fsm.Digest{dig("x")}})
	golden(t, fsm.ClearNode{Incarnation: node(1)})
}

func TestBlobStored(t *testing.T) {
	r := newCluster(t, 4)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	r.expectCopies("x", loc(1, 1), loc(2, 2))
	if l, err := r.link("a", "x"); err != nil || l.Left != time.Hour || l.Size != 1 || l.Damaged || l.Renew || l.Store != "default" {
		t.Errorf("link %+v, %v", l, err)
	}
	if _, err := r.link("a/b", "x"); err == nil {
		t.Error("visible in another repository")
	}
	do(r, r.upload("a", "x", loc(2, 3), loc(3, 4)))
	r.expectCopies("x", loc(1, 1), loc(2, 3), loc(3, 4))
	r.expectDoomed(2, 2)
	do(r, r.upload("b", "x", loc(3, 5), loc(4, 6)))
	r.expectCopies("x", loc(2, 3), loc(3, 5), loc(4, 6))
	r.expectDoomed(1, 1)
	r.expectDoomed(3, 4)
	r.sound()
}

// TestBlobStoredUnsummed: what nobody has hashed is enough for a blob that there is not yet, takes nothing away from
// what was hashed, does not heal, and is no copy for which another may be dropped.
func TestBlobStoredUnsummed(t *testing.T) {
	r := newCluster(t, 3)
	linked := func(repository, text string, at ...fsm.Location) fsm.BlobStored {
		c := r.upload(repository, text, at...)
		c.Unsummed = true
		return c
	}
	do(r, linked("a", "x", loc(1, 1)))
	r.expectCopies("x", loc(1, 1))
	if !r.blob("x").Copies[0].Vouched {
		t.Error("without a retirement there is nothing to vouch for")
	}
	do(r, linked("a", "x", loc(1, 1))) // the same once more
	r.expectDoomed(1)

	do(r, r.upload("a", "y", loc(2, 2), loc(3, 3)))
	do(r, linked("b", "y", loc(1, 4)))
	do(r, linked("b", "y", loc(2, 5)))
	r.expectCopies("y", loc(2, 2), loc(3, 3))
	r.expectDoomed(1, 4)
	r.expectDoomed(2, 5)
	if _, err := r.link("b", "y"); err != nil {
		t.Errorf("the repository does not see the blob that there was: %v", err)
	}
	refused(r, fsm.ErrTooFewCopies, linked("b", "z", loc(9, 6)))

	do(r, fsm.GiveUpCopy{Store: "default", Digest: dig("x"), Location: loc(1, 1)})
	refused(r, fsm.ErrBlobDamaged, linked("a", "x", loc(2, 7)))
	do(r, r.upload("a", "x", loc(2, 7), loc(3, 8)))

	do(r, fsm.RetireNode{Incarnation: node(3)})
	do(r, linked("a", "late", loc(1, 9)))
	if r.blob("late").Copies[0].Vouched {
		t.Error("a copy that nobody has hashed is vouched for")
	}
	r.sound()
}

func TestBlobStoredStrikesOut(t *testing.T) {
	r := newCluster(t, 3)
	do(r, started(5))
	do(r, fsm.RetireNode{Incarnation: node(3)})
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(1, 1), loc(3, 2), loc(5, 3), loc(9, 4)))
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(1, 1), loc(1, 2)))
	do(r, r.upload("a", "x", loc(1, 1), loc(3, 2), loc(2, 3)))
	r.expectCopies("x", loc(1, 1), loc(2, 3))
	do(r, r.upload("a", "x", loc(1, 4), loc(2, 5)))
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(1, 1), loc(2, 6)))
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "y", loc(1, 7), loc(2, 5)))
	do(r, fsm.RetireNode{Incarnation: node(2)})
	do(r, r.upload("b", "z", loc(1, 8)))
	r.expectCopies("z", loc(1, 8))
	r.sound()
}

func TestBlobStoredJudgesTheStamp(t *testing.T) {
	r := newCluster(t, 2)
	c := r.upload("a", "x", loc(1, 1), loc(2, 2))
	r.wait(10*time.Minute + time.Second)
	refused(r, fsm.ErrStampTooOld, c)
	c.Stamp = r.time.Add(time.Hour)
	refused(r, fsm.ErrStampTooOld, c)
	c.Stamp = r.time
	r.wait(9 * time.Minute)
	do(r, c)
}

func TestBlobStoredInABucket(t *testing.T) {
	r := newCluster(t, 3)
	do(r, storeIn(fsm.Place{Bucket: "images"}))
	do(r, r.upload("a", "x", loc(0, 1)))
	do(r, r.upload("a", "x", loc(0, 2)))
	r.expectCopies("x", loc(0, 2))
	r.expectDoomed(0, 1)
	r.sound()
}

func TestAddCopy(t *testing.T) {
	r := newCluster(t, 5)
	add := func(l fsm.Location, instead *fsm.Location) fsm.AddCopy {
		return fsm.AddCopy{Store: "default", Digest: dig("x"), Location: l, Stamp: r.time, Instead: instead}
	}
	refused(r, fsm.ErrBlobUnknown, add(loc(1, 1), nil))
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	refused(r, fsm.ErrNodeNoMember, add(loc(9, 3), nil))
	for range 2 {
		if !do(r, add(loc(3, 3), nil)).Recorded {
			t.Error("a third copy was not recorded")
		}
	}
	if do(r, add(loc(4, 4), nil)).Recorded || do(r, add(loc(3, 5), nil)).Recorded {
		t.Error("a fourth copy, or a second on a node, was recorded")
	}
	r.expectDoomed(4, 4)
	r.expectDoomed(3, 5)
	refused(r, fsm.ErrCopySpent, add(loc(4, 4), nil))
	down, gone := loc(2, 2), loc(2, 9)
	if do(r, add(loc(4, 6), &gone)).Recorded || !do(r, add(loc(4, 7), &down)).Recorded {
		t.Error("instead of one that is recorded, and of no other")
	}
	r.expectCopies("x", loc(1, 1), loc(3, 3), loc(4, 7))
	r.expectDoomed(2, 2)
	late := add(loc(5, 8), &down)
	r.wait(11 * time.Minute)
	refused(r, fsm.ErrStampTooOld, late)
	r.sound()
}

func TestGiveUpCopy(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	giveUp := func(l fsm.Location) fsm.GiveUpCopy {
		return fsm.GiveUpCopy{Store: "default", Digest: dig("x"), Location: l}
	}
	refused(r, fsm.ErrCopyUnknown, giveUp(loc(1, 9)))
	do(r, fsm.RetireNode{Incarnation: node(2)})
	if do(r, giveUp(loc(1, 1))).Damaged {
		t.Error("a copy on a retired node is another copy")
	}
	r.expectDoomed(1, 1)
	for range 2 {
		if !do(r, giveUp(loc(2, 2))).Damaged {
			t.Error("the last copy was given up")
		}
	}
	r.expectCopies("x", loc(2, 2))
	if l, err := r.link("a", "x"); err != nil || !l.Damaged {
		t.Errorf("link %+v, %v", l, err)
	}
	r.view(func(v fsm.View) {
		if d := v.Damaged("default", "", 10); !slices.Equal(d, []fsm.Digest{dig("x")}) {
			t.Errorf("damaged %v", d)
		}
		if len(v.Sole(node(2), fsm.BlobName{}, 10)) != 0 {
			t.Error("a damaged blob is nobody's sole copy")
		}
	})
	refused(r, fsm.ErrBlobDamaged, fsm.Mount{From: "a", To: "b", Digest: dig("x"), Store: "default"})
	refused(r, fsm.ErrBlobDamaged, fsm.RenewLease{Repository: "a", Digest: dig("x"), Store: "default"})
	r.sound()
	do(r, r.upload("a", "x", loc(1, 3), loc(3, 4)))
	if r.blob("x").Damaged {
		t.Error("a push did not heal")
	}
	r.sound()
}

func TestCopyRemoved(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "x", loc(1, 3), loc(2, 4)))
	r.expectDoomed(1, 1)
	do(r, fsm.CopyRemoved{Incarnation: node(1), Store: "default", Copies: []fsm.CopyID{{1}, {3}, {9}}})
	r.expectDoomed(1)
	r.view(func(v fsm.View) {
		for id, want := range map[byte]fsm.CopyState{1: fsm.CopyUnknown, 3: fsm.CopyRecorded, 9: fsm.CopyUnknown} {
			if have, _ := v.Copy("default", loc(1, id)); have != want {
				t.Errorf("copy %d is %d, want %d", id, have, want)
			}
		}
		if have, _ := v.Copy("default", loc(2, 2)); have != fsm.CopyDoomed {
			t.Errorf("copy 2 is %d", have)
		}
	})
	r.sound()
}

func TestMountAndRenewLease(t *testing.T) {
	r := newCluster(t, 2)
	mount := fsm.Mount{From: "a", To: "b", Digest: dig("x"), Store: "default"}
	refused(r, fsm.ErrBlobUnknown, mount)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, mount)
	wrong := mount
	wrong.To, wrong.Store = "c", "other"
	refused(r, fsm.ErrWrongStore, wrong)
	r.wait(31 * time.Minute)
	if l, err := r.link("b", "x"); err != nil || !l.Renew {
		t.Errorf("after half of it: %+v, %v", l, err)
	}
	do(r, fsm.RenewLease{Repository: "b", Digest: dig("x"), Store: "default"})
	if l, err := r.link("b", "x"); err != nil || l.Renew || l.Left != time.Hour {
		t.Errorf("renewed: %+v, %v", l, err)
	}
	r.wait(30 * time.Minute)
	refused(r, fsm.ErrBlobUnknown, fsm.RenewLease{Repository: "a", Digest: dig("x"), Store: "default"})
	refused(r, fsm.ErrBlobUnknown, mount)
	if _, err := r.link("b", "x"); err != nil {
		t.Error(err)
	}
	r.view(func(v fsm.View) {
		if all := v.LinkedIn("default", dig("x"), "", 10); !slices.Equal(all, []string{"a", "b"}) {
			t.Errorf("linked in %v", all)
		}
	})
	r.sound()
}

func TestCollectBlobs(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "y", loc(1, 3), loc(2, 4)))
	do(r, fsm.Mount{From: "a", To: "b", Digest: dig("x"), Store: "default"})
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	refused(r, fsm.ErrBlobUnknown, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	collect := fsm.CollectBlobs{
		Store: "default", Digests: []fsm.Digest{dig("x"), dig("y"), dig("z")},
		Links: []fsm.LinkName{{Repository: "a", Digest: dig("y")}, {Repository: "b", Digest: dig("x")}, {Repository: "c", Digest: dig("x")}},
	}
	if done := do(r, collect); done != (fsm.BlobsCollected{}) {
		t.Errorf("what is linked was collected: %+v", done)
	}
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("y")})
	r.view(func(v fsm.View) {
		if all := v.Unlinked("default", "", 10); !slices.Equal(all, []fsm.Digest{dig("y")}) {
			t.Errorf("unlinked %v", all)
		}
		if all := v.Vacant("", 10); !slices.Equal(all, []string{"a"}) {
			t.Errorf("vacant %v", all)
		}
	})
	if done := do(r, collect); done != (fsm.BlobsCollected{Blobs: 1, Copies: 2, Bytes: 2}) {
		t.Errorf("collected %+v", done)
	}
	r.expectDoomed(1, 3)
	r.wait(time.Hour)
	r.view(func(v fsm.View) {
		if all := v.Expired("default", 10); !slices.Equal(all, []fsm.LinkName{{Repository: "b", Digest: dig("x")}}) {
			t.Errorf("expired %v", all)
		}
	})
	if done := do(r, collect); done != (fsm.BlobsCollected{Links: 1, Blobs: 1, Copies: 2, Bytes: 2}) {
		t.Errorf("collected %+v", done)
	}
	r.expectDoomed(2, 2, 4)
	if done := do(r, fsm.CollectRepositories{Repositories: []string{"a", "b", "c"}}); done.Repositories != 2 {
		t.Errorf("%d repositories collected", done.Repositories)
	}
	r.sound()
}

// TestCollectBlobsIsBounded has more copies than one command may touch: the rest waits for the next.
func TestCollectBlobsIsBounded(t *testing.T) {
	r := newCluster(t, 40)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 40, WriteAcks: 2})
	var locations []fsm.Location
	for n := byte(1); n <= 40; n++ {
		locations = append(locations, loc(n, n))
	}
	var digests []fsm.Digest
	for _, text := range []string{"1", "2", "3", "4", "5", "6", "7"} {
		for i := range locations {
			locations[i].Copy[1] = text[0]
		}
		do(r, r.upload("a", text, locations...))
		do(r, fsm.DeleteBlob{Repository: "a", Digest: dig(text)})
		digests = append(digests, dig(text))
	}
	for _, want := range []int{5, 2, 0} {
		if done := do(r, fsm.CollectBlobs{Store: "default", Digests: digests}); done.Blobs != want {
			t.Errorf("%d blobs collected, want %d", done.Blobs, want)
		}
	}
	r.sound()
}

// TestRetryOfAnUploadAfterItsBytesWereCollected is the first race of GC R6: the same request has its
// effect once, and one that is forgotten is not answered.
func TestRetryOfAnUploadAfterItsBytesWereCollected(t *testing.T) {
	r := newCluster(t, 2)
	e := r.next(payloadOf(t, r.upload("a", "x", loc(1, 1), loc(2, 2))))
	if got := r.apply(e)[0]; got.Outcome != entry.Applied {
		t.Fatalf("outcome %d", got.Outcome)
	}
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	do(r, fsm.CollectBlobs{Store: "default", Digests: []fsm.Digest{dig("x")}})
	for _, id := range []byte{1, 2} {
		do(r, fsm.CopyRemoved{Incarnation: node(id), Store: "default", Copies: []fsm.CopyID{{id}}})
	}
	again := r.next(e.Payload)
	again.Envelope.Request = e.Envelope.Request
	r.apply(again)
	if _, err := r.link("a", "x"); err == nil {
		t.Error("a retry brought back a blob whose bytes are gone")
	}
	r.wait(10 * time.Minute)
	again = r.next(e.Payload)
	again.Envelope.Request = e.Envelope.Request
	if got := r.apply(again)[0]; got.Outcome != entry.Expired {
		t.Errorf("outcome %d long after", got.Outcome)
	}
}
