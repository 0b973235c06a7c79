package fsm_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// TestRaces has the races of docs/design/gc.md that the order of commands decides, each told as there, under the name
// that it has in the model (test/model/runs.go) when the rule against it is taken out. docs/gc-rules.md says where the
// others are.
func TestRaces(t *testing.T) {
	for name, race := range map[string]func(t *testing.T){
		"T1/no-term-check":         raceNoTermCheck,
		"T4/short-lease":           raceShortLease,
		"R1/surplus-new-doomed":    raceSurplusNewDoomed,
		"R1/two-per-node":          raceTwoPerNode,
		"R1/retired-may-hold":      raceRetiredMayHold,
		"R1/no-member-check":       raceNoMemberCheck,
		"R1/ack-one":               raceAckOne,
		"R1/no-window":             raceNoWindow,
		"R2/add-copy-no-window":    raceAddCopyNoWindow,
		"R2/add-creates":           raceAddCreates,
		"R3/collect-unchecked":     raceCollectUnchecked,
		"R3/refuse-while-doomed":   raceRefuseWhileDoomed,
		"R5/give-up-last":          raceGiveUpLast,
		"R6/new-id-per-put":        raceNewIDPerPut,
		"R6/forget-ids":            raceForgetIDs,
		"R7/mount-unchecked":       raceMountUnchecked,
		"R8/put-unchecked":         racePutUnchecked,
		"R8/no-lease-at-zero":      raceNoLeaseAtZero,
		"R9/damaged-visible":       raceDamagedVisible,
		"R16/head-no-margin":       raceHeadNoMargin,
		"R16/head-unconfirmed":     raceHeadUnconfirmed,
		"R16/head-by-old-delay":    raceHeadByOldDelay,
		"R17/retire-checked":       raceRetireChecked,
		"R18/drop-at-once":         raceDropAtOnce,
		"R18/no-vouch":             raceNoVouch,
		"R18/old-vouch":            raceOldVouch,
		"R18/vouch-stays":          raceVouchStays,
		"R18/drop-keeps-doomed":    raceDropKeepsDoomed,
		"R19/lost-refused":         raceLostRefused,
		"R19/clear-later":          raceClearLater,
		"R20/bucket-two-locations": raceBucketTwoLocations,
		"move/collected-meanwhile": raceMoveCollected,
		"move/deleted-meanwhile":   raceMoveDeleted,
		"move/target-collected":    raceMoveTargetCollected,
		"move/push":                racePushWhileMoving,
		"move/old-upload":          raceOldUploadWhileMoving,
		"move/two-movers":          raceTwoMovers,
		"move/new-id":              raceMoveNewID,
		"move/no-window":           raceMoveNoWindow,
		"move/short-lease":         raceMoveShortLease,
		"move/short-lease-at-zero": raceMoveShortLeaseAtZero,
		"move/short-lease-by-push": raceMoveShortLeaseByPush,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); race(t) })
	}
}

// An old leader's entry carries an old time: the copies in it seem young, and were swept long ago.
func raceNoTermCheck(t *testing.T) {
	r := newCluster(t, 2)
	r.term = 2
	e := r.next(payloadOf(t, r.upload("a", "x", loc(1, 1), loc(2, 2))))
	r.term = 3
	r.wait(time.Hour)
	r.index++
	e.Index, e.Term = r.index, r.term
	if got := r.apply(e)[0]; got.Outcome != entry.WrongTerm {
		t.Errorf("outcome %d", got.Outcome)
	}
	if _, err := r.link("a", "x"); err == nil {
		t.Error("it was recorded")
	}
}

// A stored 201 is repeated, and less than half of the lease is left: whatever gcDelay is, that must not be.
func raceShortLease(t *testing.T) {
	for _, delay := range []time.Duration{time.Second, 5 * time.Second, time.Minute, 20 * time.Minute, time.Hour, 24 * time.Hour} {
		r := newCluster(t, 2)
		do(r, fsm.SetStore{Name: "default", GCDelay: delay, Replicas: 2, WriteAcks: 2})
		r.view(func(v fsm.View) {
			s, _ := v.Store("default")
			if n := s.Numbers; n.Lease/2 <= n.KeepWindow+r.Tick() {
				t.Errorf("gcDelay %s: half of %s is not more than %s and %s", delay, n.Lease, n.KeepWindow, r.Tick())
			}
		})
	}
}

// Both disks of old copies may be lost, and nobody has noticed: it is the new ones that must stay.
func raceSurplusNewDoomed(t *testing.T) {
	r := newCluster(t, 4)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 2, WriteAcks: 2})
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "x", loc(3, 3), loc(4, 4)))
	r.expectCopies("x", loc(3, 3), loc(4, 4))
	r.expectDoomed(1, 1)
	r.expectDoomed(2, 2)
	r.expectDoomed(3)
	r.expectDoomed(4)
}

// Two copies on one disk are one loss: B.1 and B.2 would let A leave.
func raceTwoPerNode(t *testing.T) {
	r := newCluster(t, 4)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "x", loc(1, 3), loc(2, 4)))
	r.expectCopies("x", loc(1, 3), loc(2, 4))
	do(r, fsm.RetireNode{Incarnation: node(1)})
	vouch(r, 2, 4)
	if done := drop(r, 1); done.Copies != 0 {
		t.Error("A may leave, and B alone is left")
	}
	do(r, fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(3, 5), Stamp: r.time})
	if do(r, fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(2, 6), Stamp: r.time}).Recorded {
		t.Error("a second copy on B is recorded")
	}
}

// A node retires, and a push is acknowledged by its copy: it is removed, and with it the only one.
func raceRetiredMayHold(t *testing.T) {
	r := newCluster(t, 2)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 2, WriteAcks: 1})
	do(r, fsm.RetireNode{Incarnation: node(1)})
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(1, 1)))
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	r.expectCopies("x", loc(2, 2))
}

// The same with a node that is gone, or has not joined yet.
func raceNoMemberCheck(t *testing.T) {
	r := newCluster(t, 3)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 2, WriteAcks: 1})
	do(r, started(5))
	do(r, fsm.DropNode{Incarnation: node(3), Lost: true})
	for _, n := range []byte{3, 5, 9} {
		refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(n, n)))
	}
}

// One durable copy, and its disk is lost after the 201.
func raceAckOne(t *testing.T) {
	r := newCluster(t, 3)
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(1, 1)))
	refused(r, fsm.ErrTooFewCopies, r.upload("a", "x", loc(1, 1), loc(1, 2))) // on one disk
}

// The uploader is paused for an hour, and the sweepers take the copies that nobody knows.
func raceNoWindow(t *testing.T) {
	r := newCluster(t, 2)
	late := r.upload("a", "x", loc(1, 1), loc(2, 2))
	r.view(func(v fsm.View) {
		s, _ := v.Store("default")
		if s.Numbers.Unknown < 3*s.Numbers.Window {
			t.Errorf("unknown files go after %s, and are recorded until %s", s.Numbers.Unknown, s.Numbers.Window)
		}
	})
	r.wait(time.Hour)
	refused(r, fsm.ErrStampTooOld, late)
}

// Repair is paused between its fetch and its command.
func raceAddCopyNoWindow(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	late := fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(3, 3), Stamp: r.time}
	r.wait(30 * time.Minute)
	refused(r, fsm.ErrStampTooOld, late)
	r.expectCopies("x", loc(1, 1), loc(2, 2))
}

// The blob is collected while repair makes a copy of it.
func raceAddCreates(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	do(r, fsm.CollectBlobs{Store: "default", Digests: []fsm.Digest{dig("x")}})
	refused(r, fsm.ErrBlobUnknown, fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(3, 3), Stamp: r.time})
}

// The collector proposes, a push renews the link, then the command is applied.
func raceCollectUnchecked(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	r.wait(time.Hour)
	collect := fsm.CollectBlobs{Store: "default", Links: []fsm.LinkName{{Repository: "a", Digest: dig("x")}}, Digests: []fsm.Digest{dig("x")}}
	do(r, r.upload("a", "x", loc(1, 3), loc(2, 4)))
	do(r, collect)
	r.expectCopies("x", loc(1, 3), loc(2, 4))
	r.expectDoomed(1, 1)
}

// New bytes do not wait until the old ones are removed, and are not taken for them.
func raceRefuseWhileDoomed(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	do(r, fsm.CollectBlobs{Store: "default", Digests: []fsm.Digest{dig("x")}})
	do(r, r.upload("a", "x", loc(1, 3), loc(2, 4)))
	do(r, fsm.CopyRemoved{Incarnation: node(1), Store: "default", Copies: []fsm.CopyID{{1}}})
	r.expectCopies("x", loc(1, 3), loc(2, 4))
}

// Both holders find their copies bad: what is left of the last may be all that there is.
func raceGiveUpLast(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	for i, want := range []bool{false, true} {
		n := byte(i + 1)
		if done := do(r, fsm.GiveUpCopy{Store: "default", Digest: dig("x"), Location: loc(n, n)}); done.Damaged != want {
			t.Errorf("%d: damaged %t", n, done.Damaged)
		}
	}
	r.expectCopies("x", loc(2, 2))
	r.expectDoomed(2)
}

// The answer to a PUT is lost, the blob is deleted, collected and removed, and the PUT comes again under a new id.
func raceNewIDPerPut(t *testing.T) {
	r := newCluster(t, 2)
	stored := r.upload("a", "x", loc(1, 1), loc(2, 2))
	do(r, stored)
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	do(r, fsm.CollectBlobs{Store: "default", Digests: []fsm.Digest{dig("x")}})
	refused(r, fsm.ErrTooFewCopies, stored) // as long as they are doomed
}

// The same, and the PUT comes again under its own id.
func raceForgetIDs(t *testing.T) {
	r := newCluster(t, 2)
	e := r.next(payloadOf(t, r.upload("a", "x", loc(1, 1), loc(2, 2))))
	r.apply(e)
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	do(r, fsm.CollectBlobs{Store: "default", Digests: []fsm.Digest{dig("x")}})
	for _, n := range []byte{1, 2} {
		do(r, fsm.CopyRemoved{Incarnation: node(n), Store: "default", Copies: []fsm.CopyID{{n}}})
	}
	again := r.next(e.Payload)
	again.Envelope.Request = e.Envelope.Request
	r.apply(again)
	if _, err := r.link("a", "x"); err == nil {
		t.Error("a blob without a byte is back")
	}
}

// The lease of the source ends before the mount is applied.
func raceMountUnchecked(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	r.wait(time.Hour)
	refused(r, fsm.ErrBlobUnknown, fsm.Mount{From: "a", To: "b", Digest: dig("x"), Store: "default"})
}

// A manifest is put whose blob is collected meanwhile.
func racePutUnchecked(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	m := put("a", "m", "x")
	r.wait(time.Hour)
	refused(r, fsm.ErrManifestBlobUnknown, m)
}

// A pusher has seen a layer that a manifest names, and that manifest goes.
func raceNoLeaseAtZero(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, put("a", "m", "x"))
	r.wait(10 * time.Hour)
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	do(r, fsm.CollectBlobs{Store: "default", Links: []fsm.LinkName{{Repository: "a", Digest: dig("x")}}})
	r.wait(59 * time.Minute)
	do(r, put("a", "n", "x"))
}

// Both disks are lost, both nodes removed, and the link says that the blob is there.
func raceDamagedVisible(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	for _, n := range []byte{1, 2} {
		do(r, fsm.DropNode{Incarnation: node(n), Lost: true})
	}
	if l, err := r.link("a", "x"); err != nil || !l.Damaged {
		t.Errorf("HEAD sees %+v, %v", l, err)
	}
	refused(r, fsm.ErrManifestBlobUnknown, put("a", "m", "x"))
	refused(r, fsm.ErrBlobDamaged, fsm.Mount{From: "a", To: "b", Digest: dig("x"), Store: "default"})
	refused(r, fsm.ErrBlobDamaged, fsm.RenewLease{Repository: "a", Digest: dig("x"), Store: "default"})
}

// A node knows the time as of its newest entry, and it may be a tick later: a HEAD renews so much earlier.
func raceHeadNoMargin(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	r.wait(30*time.Minute - r.Tick() - time.Second)
	if l, err := r.link("a", "x"); err != nil || l.Renew {
		t.Errorf("while half and a tick are left: %+v, %v", l, err)
	}
	r.wait(2 * time.Second)
	if l, err := r.link("a", "x"); err != nil || !l.Renew {
		t.Errorf("while half, and less than a tick, is left: %+v, %v", l, err)
	}
}

// The link ends between the look of a HEAD and its renewal.
func raceHeadUnconfirmed(t *testing.T) {
	r := newCluster(t, 2)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	r.wait(time.Hour)
	refused(r, fsm.ErrBlobUnknown, fsm.RenewLease{Repository: "a", Digest: dig("x"), Store: "default"})
}

// The delay was shortened. HEAD says 200 a moment before the old one is forgotten, of a lease that has long been over
// by the new.
func raceHeadByOldDelay(t *testing.T) {
	r := newCluster(t, 2)
	do(r, fsm.SetStore{Name: "default", GCDelay: 24 * time.Hour, Replicas: 2, WriteAcks: 2})
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 2, WriteAcks: 2})
	r.wait(22 * time.Hour)
	do(r, r.upload("a", "x", loc(1, 3), loc(2, 4)))
	r.wait(2*time.Hour - 10*time.Second)
	if l, err := r.link("a", "x"); err != nil || !l.Renew {
		t.Errorf("HEAD sees %+v, %v", l, err)
	}
}

// A node with sole copies retires: only then are they copied away.
func raceRetireChecked(t *testing.T) {
	r := newCluster(t, 2)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	do(r, r.upload("a", "x", loc(1, 1)))
	do(r, fsm.RetireNode{Incarnation: node(1)})
	if !do(r, fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(2, 2), Stamp: r.time}).Recorded {
		t.Error("a copy on the retired node counts, and the record is full")
	}
	if done := drop(r, 1); done.Copies != 1 {
		t.Error("the node cannot leave")
	}
	do(r, fsm.DropNode{Incarnation: node(1)})
}

// A node is removed while one other copy is all that would be left, and that disk dies.
func raceDropAtOnce(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, fsm.RetireNode{Incarnation: node(2)})
	vouch(r, 1, 1)
	if done := drop(r, 2); done.Copies != 0 {
		t.Error("one copy is left")
	}
	refused(r, fsm.ErrNodeHasCopies, fsm.DropNode{Incarnation: node(2)})
}

// A copy has rotten, nobody has noticed, and it lets another leave.
func raceNoVouch(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2), loc(3, 3)))
	do(r, fsm.RetireNode{Incarnation: node(3)})
	vouch(r, 2, 2)
	if done := drop(r, 3); done.Copies != 0 {
		t.Error("it leaves because of a copy that nobody has looked at")
	}
	vouch(r, 1, 1)
	if done := drop(r, 3); done.Copies != 1 {
		t.Error("it cannot leave")
	}
}

// A copy is hashed, then a node retires, then the vouching is applied: it has rotten in between.
func raceOldVouch(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, fsm.RetireNode{Incarnation: node(3)})
	refused(r, fsm.ErrRetirement, fsm.VouchCopies{
		Incarnation: node(1), Store: "default", Retirement: 0, Copies: []fsm.BlobCopy{{Digest: dig("x"), Copy: fsm.CopyID{1}}},
	})
}

// Copies that were vouched for when one node left are no better than others when the next one does.
func raceVouchStays(t *testing.T) {
	r := newCluster(t, 4)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2), loc(3, 3)))
	do(r, fsm.RetireNode{Incarnation: node(3)})
	vouch(r, 1, 1)
	vouch(r, 2, 2)
	do(r, fsm.RetireNode{Incarnation: node(4)})
	if done := drop(r, 3); done.Copies != 0 {
		t.Error("it leaves because of what was hashed before the other one retired")
	}
}

// Nobody will ever confirm what is doomed on a node that is gone.
func raceDropKeepsDoomed(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "x", loc(1, 3), loc(2, 4)))
	do(r, fsm.DropNode{Incarnation: node(1), Lost: true})
	do(r, fsm.ClearNode{Incarnation: node(1)})
	r.expectDoomed(1)
	r.sound()
}

// A lost disk had sole copies: somebody says so, and it is replaced all the same.
func raceLostRefused(t *testing.T) {
	r := newCluster(t, 2)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	do(r, r.upload("a", "x", loc(1, 1)))
	refused(r, fsm.ErrSoleCopies, fsm.DropNode{Incarnation: node(1), Lost: true, UnlessSole: true}) // by the leader itself
	do(r, fsm.DropNode{Incarnation: node(1), Lost: true})
	if l, err := r.link("a", "x"); err != nil || !l.Damaged {
		t.Errorf("%+v, %v", l, err)
	}
}

// A node is dropped, its records are cleared later, and the one other copy is given up meanwhile: that is the last.
func raceClearLater(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, fsm.DropNode{Incarnation: node(1), Lost: true})
	if !do(r, fsm.GiveUpCopy{Store: "default", Digest: dig("x"), Location: loc(2, 2)}).Damaged {
		t.Error("a location on a node that is gone is another one")
	}
	refused(r, fsm.ErrNotCleared, fsm.DropNode{Incarnation: node(3), Lost: true, UnlessSole: true})
}

// In a bucket there is one location, of no node, and new bytes take the place of the old.
func raceBucketTwoLocations(t *testing.T) {
	r := newCluster(t, 3)
	do(r, storeIn(fsm.Place{Bucket: "images"}))
	do(r, r.upload("a", "x", loc(0, 1)))
	do(r, r.upload("a", "x", loc(0, 2)))
	r.expectCopies("x", loc(0, 2))
	r.expectDoomed(0, 1)
}

// vouch has node n say that it has hashed its copy of x again, after the first retirement.
func vouch(r *replica, n, id byte) {
	r.t.Helper()
	done := do(r, fsm.VouchCopies{
		Incarnation: node(n), Store: "default", Retirement: 1, Copies: []fsm.BlobCopy{{Digest: dig("x"), Copy: fsm.CopyID{id}}},
	})
	if done.Copies != 1 {
		r.t.Errorf("%d copies on node %d are vouched for", done.Copies, n)
	}
}

// drop drops the location of x on node n, if it may go.
func drop(r *replica, n byte) fsm.CopiesDropped {
	r.t.Helper()
	return do(r, fsm.DropCopies{Incarnation: node(n), Store: "default", Digests: []fsm.Digest{dig("x")}})
}

// The bytes are on their way, and nobody wants them any more: nothing is recorded, and the files are swept.
func raceMoveCollected(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, toNew("a"))
	r.wait(time.Hour)
	move := r.bring("x", loc(1, 3), loc(2, 4))
	r.collectOld()
	refused(r, fsm.ErrBlobUnknown, move)
	r.expectUnknown(loc(1, 3), loc(2, 4))
}

func raceMoveDeleted(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, toNew("a"))
	move := r.bring("x", loc(1, 3), loc(2, 4))
	do(r, fsm.DeleteBlob{Repository: "a", Digest: dig("x")})
	refused(r, fsm.ErrBlobUnknown, move)
	r.expectUnknown(loc(1, 3), loc(2, 4))
	r.expectLeft("a", "new")
}

// The target has the blob, as garbage, and it goes before the link comes.
func raceMoveTargetCollected(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.uploadNew("b", "x", loc(1, 1), loc(2, 2)))
	do(r, fsm.DeleteBlob{Repository: "b", Digest: dig("x")})
	do(r, r.upload("a", "x", loc(1, 3), loc(2, 4)))
	do(r, toNew("a"))
	do(r, fsm.CollectBlobs{Store: "new", Digests: []fsm.Digest{dig("x")}})
	refused(r, fsm.ErrBlobUnknown, r.bring("x"))
	r.expectStore("a", "default")

	do(r, r.uploadNew("b", "x", loc(1, 5), loc(2, 6)))
	do(r, fsm.DeleteBlob{Repository: "b", Digest: dig("x")})
	do(r, r.bring("x")) // and the other way round
	do(r, fsm.CollectBlobs{Store: "new", Digests: []fsm.Digest{dig("x")}})
	r.expectStore("a", "new")
	r.expectLeft("a", "new")
}

// Somebody pushes the blob while its bytes are being brought. The copies of the push stay, the others are swept.
func racePushWhileMoving(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, put("a", "m", "x"))
	do(r, toNew("a"))
	move := r.bring("x", loc(1, 3), loc(2, 4))
	do(r, r.uploadNew("a", "x", loc(1, 5), loc(2, 6)))
	refused(r, fsm.ErrWrongStore, move)
	r.expectUnknown(loc(1, 3), loc(2, 4))
	r.expectStore("a", "new")
	if l, _ := r.link("a", "x"); l.References != 1 {
		t.Errorf("%+v", l)
	}
	r.expectLeft("a", "new")
}

// An upload began in the old store, and ends when the move has. It is no fault of its client, who is answered 201.
func raceOldUploadWhileMoving(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	old := r.upload("a", "y", loc(1, 3), loc(2, 4))
	do(r, toNew("a"))
	do(r, r.bring("x", loc(1, 5), loc(2, 6)))
	r.expectLeft("a", "new")
	do(r, old)
	do(r, put("a", "m", "x", "y"))
	r.expectLeft("a", "new", fsm.LinksIn{Store: "default", Links: 1, Bytes: 1})
	do(r, r.bring("y", loc(1, 7), loc(2, 8)))
	r.expectLeft("a", "new")
}

// A deposed leader's bytes come beside those of the next; then somebody moves the repository back.
func raceTwoMovers(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "y", loc(1, 3), loc(2, 4)))
	do(r, toNew("a"))
	one, two := r.bring("x", loc(1, 5), loc(2, 6)), r.bring("x", loc(1, 7), loc(2, 8))
	late := r.bring("y", loc(1, 9), loc(2, 10))
	do(r, two)
	refused(r, fsm.ErrWrongStore, one)
	r.expectUnknown(loc(1, 5), loc(2, 6))
	do(r, fsm.MoveRepository{Repository: "a", To: "default"})
	refused(r, fsm.ErrWrongStore, late)
	r.expectUnknown(loc(1, 9), loc(2, 10))
	r.expectLeft("a", "default", fsm.LinksIn{Store: "new", Links: 1, Bytes: 1})
}

// The answer is lost. By the time of the retry the repository has moved back, what it had in the new store was
// collected and its files are gone, and it is to move there once more: those copies must not be recorded again.
func raceMoveNewID(t *testing.T) {
	r := newStores(t, time.Hour)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, toNew("a"))
	e := r.next(payloadOf(t, r.bring("x", loc(1, 3), loc(2, 4))))
	r.apply(e)
	do(r, fsm.MoveRepository{Repository: "a", To: "default"})
	do(r, fsm.MoveLink{Repository: "a", Digest: dig("x"), From: "new", To: "default"})
	do(r, fsm.CollectBlobs{Store: "new", Digests: []fsm.Digest{dig("x")}})
	do(r, toNew("a"))
	again := r.next(e.Payload)
	refused(r, fsm.ErrTooFewCopies, r.bring("x", loc(1, 3), loc(2, 4))) // as long as they are doomed
	for _, n := range []byte{1, 2} {
		do(r, fsm.CopyRemoved{Incarnation: node(n), Store: "new", Copies: []fsm.CopyID{{n + 2}}})
	}
	again.Index, again.Envelope = r.index+1, e.Envelope
	r.index++
	r.apply(again)
	r.expectStore("a", "default")
	r.expectUnknown(loc(1, 3), loc(2, 4))
}

func raceMoveNoWindow(t *testing.T) {
	r := newStores(t, 4*time.Minute) // its window is a minute
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, toNew("a"))
	late := r.bring("x", loc(1, 3), loc(2, 4))
	r.wait(2 * time.Minute)
	refused(r, fsm.ErrStampTooOld, late)
}

// HEAD has promised half an hour by the numbers of the old store. The lease of the new one is a minute.
func raceMoveShortLease(t *testing.T) {
	r := newStores(t, time.Minute)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, toNew("a"))
	r.wait(25 * time.Minute)
	do(r, r.bring("x", loc(1, 3), loc(2, 4)))
	r.wait(30 * time.Minute)
	do(r, put("a", "m", "x"))
}

// It has promised so of a blob that a manifest names, and the manifest goes.
func raceMoveShortLeaseAtZero(t *testing.T) {
	r := newStores(t, time.Minute)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, put("a", "m", "x"))
	do(r, toNew("a"))
	do(r, r.bring("x", loc(1, 3), loc(2, 4)))
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("m")})
	r.wait(30 * time.Minute)
	do(r, put("a", "n", "x"))
	r.wait(2 * time.Hour)
	do(r, fsm.DeleteManifest{Repository: "a", Digest: dig("n")})
	r.wait(2 * time.Minute)
	refused(r, fsm.ErrManifestBlobUnknown, put("a", "m", "x")) // nobody was promised more by then
}

// It has promised so, and a push brings the blob over.
func raceMoveShortLeaseByPush(t *testing.T) {
	r := newStores(t, time.Minute)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, toNew("a"))
	do(r, r.uploadNew("a", "x", loc(1, 3), loc(2, 4)))
	r.wait(30 * time.Minute)
	do(r, put("a", "m", "x"))
}

// expectUnknown fails for copies in the new store that are recorded or doomed.
func (r *replica) expectUnknown(all ...fsm.Location) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		for _, l := range all {
			if state, of := v.Copy("new", l); state != fsm.CopyUnknown {
				r.t.Errorf("copy %s on %s is %d, of %s", l.Copy, l.Incarnation.Short(), state, of)
			}
		}
	})
}
