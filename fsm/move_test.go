package fsm_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// newStores is a cluster of two nodes with another store, whose lease is as said.
func newStores(t *testing.T, delay time.Duration) *replica {
	t.Helper()
	r := newCluster(t, 2)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 2, WriteAcks: 2})
	do(r, fsm.SetStore{Name: "new", GCDelay: delay, Replicas: 2, WriteAcks: 2})
	return r
}

func toNew(repository string) fsm.MoveRepository {
	return fsm.MoveRepository{Repository: repository, To: "new"}
}

// bring is the MoveLink of a blob of repository a to the new store, with copies that are stamped now.
func (r *replica) bring(text string, locations ...fsm.Location) fsm.MoveLink {
	c := fsm.MoveLink{Repository: "a", Digest: dig(text), From: "default", To: "new"}
	if len(locations) > 0 {
		c.Size, c.Locations, c.Stamp = int64(len(text)), locations, r.time
	}
	return c
}

// uploadNew is an upload to the new store.
func (r *replica) uploadNew(repository, text string, locations ...fsm.Location) fsm.BlobStored {
	c := r.upload(repository, text, locations...)
	c.Store = "new"
	return c
}

// expectStore compares where the blob x is that a repository sees.
func (r *replica) expectStore(repository, want string) {
	r.t.Helper()
	if l, err := r.link(repository, "x"); err != nil || l.Store != want {
		r.t.Errorf("x of %s is %+v, %v; want it in %s", repository, l, err, want)
	}
}

// expectLeft compares what of a repository is still in other stores than its own.
func (r *replica) expectLeft(repository, store string, want ...fsm.LinksIn) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		have, err := v.Repository(repository)
		if err != nil || have.Store != store || !slices.Equal(have.Elsewhere, want) {
			r.t.Errorf("%+v, %v; want it in %s, and elsewhere %v", have, err, store, want)
		}
		if is := slices.Contains(v.Moving("", 10), repository); is != (len(want) > 0) {
			r.t.Errorf("it is moving: %t", is)
		}
	})
	r.sound()
}

// collectOld collects all that can go from the default store.
func (r *replica) collectOld() fsm.BlobsCollected {
	r.t.Helper()
	c := fsm.CollectBlobs{Store: "default"}
	r.view(func(v fsm.View) { c.Links, c.Digests = v.Expired("default", 50), v.Unlinked("default", "", 50) })
	if len(c.Links)+len(c.Digests) == 0 {
		return fsm.BlobsCollected{}
	}
	return do(r, c)
}

// A repository is read, pushed to and deleted from at each step of its move.
func TestMove(t *testing.T) {
	r := newStores(t, time.Hour)
	for i, text := range []string{"x", "xx", "xxx"} {
		do(r, r.upload("a", text, loc(1, byte(10*i+1)), loc(2, byte(10*i+2))))
	}
	do(r, r.upload("b", "x", loc(1, 41), loc(2, 42)))
	do(r, put("a", "m", "x", "xx"))
	refused(r, fsm.ErrRepositoryUnknown, toNew("c"))
	refused(r, fsm.ErrStoreUnknown, fsm.MoveRepository{Repository: "a", To: "no"})
	refused(r, fsm.ErrWrongStore, r.bring("x", loc(1, 51), loc(2, 52)))
	do(r, toNew("a"))
	do(r, toNew("a"))
	r.expectLeft("a", "new", fsm.LinksIn{Store: "default", Links: 3, Bytes: 6})
	r.view(func(v fsm.View) {
		if strays, last := v.Strays("a", "", 2); len(strays) != 2 || last != strays[1].Digest {
			t.Errorf("%v, %v", strays, last)
		} else if rest, end := v.Strays("a", last, 2); len(rest) != 1 || end != "" {
			t.Errorf("%v, %v", rest, end)
		}
	})

	refused(r, fsm.ErrBlobUnknown, r.bring("x"))
	refused(r, fsm.ErrTooFewCopies, r.bring("x", loc(1, 51)))
	do(r, r.bring("x", loc(1, 51), loc(2, 52)))
	r.expectStore("a", "new")
	r.expectStore("b", "default")
	r.expectLeft("a", "new", fsm.LinksIn{Store: "default", Links: 2, Bytes: 5})
	do(r, put("a", "n", "x", "xx", "xxx")) // it names what is here and what is there
	do(r, r.uploadNew("a", "xx", loc(1, 61), loc(2, 62)))
	refused(r, fsm.ErrWrongStore, fsm.Mount{From: "b", To: "a", Digest: dig("x"), Store: "default"})
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("n")})
	refused(r, fsm.ErrBlobReferenced, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	refused(r, fsm.ErrBlobReferenced, fsm.DeleteBlob{Repository: "a", Digest: dig("xx")})
	r.expectLeft("a", "new", fsm.LinksIn{Store: "default", Links: 1, Bytes: 3})
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("xxx")})
	r.expectLeft("a", "new")

	if done := r.collectOld(); done.Blobs != 2 || done.Copies != 4 {
		t.Errorf("collected %+v", done) // all but x, which b has
	}
	for _, text := range []string{"x", "xx"} {
		if l, err := r.link("a", text); err != nil || l.References != 1 || l.Damaged {
			t.Errorf("%s: %+v, %v", text, l, err)
		}
	}
	r.sound()
}

// What the target has already, as its numbers want it, needs no bytes to be brought.
func TestMoveToABlobThatIsThere(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.uploadNew("b", "x", loc(1, 3), loc(2, 4)))
	do(r, toNew("a"))
	do(r, fsm.DropNode{Incarnation: node(2), Lost: true})
	do(r, started(3))
	do(r, fsm.NodeJoined{Incarnation: node(3)})
	refused(r, fsm.ErrTooFewCopies, r.bring("x")) // one disk less, and x would be gone
	do(r, r.bring("x", loc(1, 5), loc(3, 6)))
	r.expectLeft("a", "new")
	do(r, fsm.GiveUpCopy{Store: "new", Digest: dig("x"), Location: loc(1, 5)})
	do(r, fsm.GiveUpCopy{Store: "new", Digest: dig("x"), Location: loc(3, 6)})
	do(r, fsm.MoveRepository{Repository: "b", To: "default"})
	do(r, toNew("b"))
	r.expectLeft("b", "new")
	do(r, r.upload("a", "x", loc(1, 7), loc(3, 8))) // by an upload that began long ago
	r.expectLeft("a", "new", fsm.LinksIn{Store: "default", Links: 1, Bytes: 1})
	do(r, fsm.SetStore{Name: "new", GCDelay: time.Hour, Replicas: 2, WriteAcks: 1})
	refused(r, fsm.ErrTooFewCopies, r.bring("x")) // one that is damaged
	do(r, r.uploadNew("a", "x", loc(1, 9), loc(3, 10)))
	r.expectLeft("a", "new")
}

// There and back, and to a third store on the way.
func TestMoveBackAndForth(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, fsm.SetStore{Name: "third", GCDelay: time.Hour, Replicas: 2, WriteAcks: 2})
	for i := range byte(3) {
		do(r, r.upload("a", fmt.Sprint("x", i), loc(1, 10+i), loc(2, 20+i)))
	}
	do(r, toNew("a"))
	do(r, r.bring("x0", loc(1, 30), loc(2, 31)))
	do(r, fsm.MoveRepository{Repository: "a", To: "third"})
	r.expectLeft("a", "third", fsm.LinksIn{Store: "default", Links: 2, Bytes: 4}, fsm.LinksIn{Store: "new", Links: 1, Bytes: 2})
	c := r.bring("x1", loc(1, 32), loc(2, 33))
	refused(r, fsm.ErrWrongStore, c)
	c.To = "third"
	do(r, c)
	do(r, fsm.MoveRepository{Repository: "a", To: "default"})
	r.expectLeft("a", "default", fsm.LinksIn{Store: "new", Links: 1, Bytes: 2}, fsm.LinksIn{Store: "third", Links: 1, Bytes: 2})
	do(r, fsm.MoveLink{Repository: "a", Digest: dig("x0"), From: "new", To: "default"}) // not collected yet
	do(r, fsm.MoveLink{Repository: "a", Digest: dig("x1"), From: "third", To: "default"})
	r.expectLeft("a", "default")
}

// A repository may move away while nothing is in it, and begin anew.
func TestMoveOfAVacantRepository(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	do(r, toNew("a"))
	r.expectLeft("a", "new")
	do(r, fsm.CollectRepositories{Repositories: []string{"a"}})
	refused(r, fsm.ErrRepositoryUnknown, toNew("a"))
}

// A link whose lease has run out is no more when it is moved, also with the bytes that have come for it.
func TestMoveOfWhatHasExpired(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "xx", loc(1, 3), loc(2, 4)))
	do(r, toNew("a"))
	r.wait(time.Hour)
	r.view(func(v fsm.View) {
		if strays, _ := v.Strays("a", "", 10); len(strays) != 2 || !strays[0].Expired || !strays[1].Expired {
			t.Errorf("%v", strays)
		}
	})
	do(r, r.bring("x", loc(1, 5), loc(2, 6)))
	r.expectLeft("a", "new", fsm.LinksIn{Store: "default", Links: 1, Bytes: 2})
	do(r, r.bring("xx"))
	r.expectLeft("a", "new")
	r.expectUnknown(loc(1, 5), loc(2, 6))
	if done := r.collectOld(); done.Blobs != 2 {
		t.Errorf("collected %+v", done)
	}
}

// Links that are not referred to are collected in the order in which they expire, wherever they came from.
func TestMovedLeasesEndInOrder(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, toNew("a"))
	r.wait(20 * time.Minute)
	do(r, r.uploadNew("a", "y", loc(1, 3), loc(2, 4)))
	do(r, r.bring("x", loc(1, 5), loc(2, 6)))
	r.wait(40 * time.Minute)
	r.view(func(v fsm.View) {
		if all := v.Expired("new", 10); !slices.Equal(all, []fsm.LinkName{{Repository: "a", Digest: dig("x")}}) {
			t.Errorf("%v", all)
		}
	})
}
