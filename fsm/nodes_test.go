package fsm_test

import (
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// started announces the n-th node of a test.
func started(n byte) fsm.NodeStarted {
	return fsm.NodeStarted{Node: entry.Node{
		Incarnation: node(n), Name: "zot-" + string('0'+n), Address: "zot:7373", Zone: "a", Version: "1", Level: 1,
	}}
}

// newCluster is a state with members 1 to n.
func newCluster(t testing.TB, n byte) *replica {
	t.Helper()
	r := newReplica(t)
	for i := byte(1); i <= n; i++ {
		r.join(i)
	}
	return r
}

// join makes node n a member.
func (r *replica) join(n byte) {
	r.t.Helper()
	do(r, started(n))
	do(r, fsm.NodeJoined{Incarnation: node(n)})
}

func TestNodeEncodings(t *testing.T) {
	golden(t, started(1))
	golden(t, fsm.NodeJoined{Incarnation: node(1)})
	golden(t, fsm.DrainNode{Incarnation: node(1), Undo: true})
	golden(t, fsm.RetireNode{Incarnation: node(1)})
	golden(t, fsm.DropNode{Incarnation: node(1), Lost: true, UnlessSole: true})
}

func (r *replica) expectState(n byte, want entry.NodeState) {
	r.t.Helper()
	r.view(func(v fsm.View) {
		if have, _ := v.Node(node(n)); have.State != want {
			r.t.Errorf("node %d is %s, want %s", n, have.State, want)
		}
	})
}

func TestNodeStates(t *testing.T) {
	r := newReplica(t)
	refused(r, fsm.ErrNodeUnknown, fsm.NodeJoined{Incarnation: node(1)})
	replica := started(1)
	replica.Node.State = entry.Replica
	do(r, replica)
	r.expectState(1, entry.Replica)
	forged := started(1)
	forged.Node.State = entry.Member
	do(r, forged)
	r.expectState(1, entry.Joining)
	do(r, fsm.NodeJoined{Incarnation: node(1)})
	do(r, replica)
	r.expectState(1, entry.Member)
	refused(r, fsm.ErrLastMember, fsm.RetireNode{Incarnation: node(1)})
	refused(r, fsm.ErrNodeNotRetired, fsm.DropNode{Incarnation: node(1)})
	refused(r, fsm.ErrLastMember, fsm.DropNode{Incarnation: node(1), Lost: true})
	r.join(2)
	do(r, fsm.RetireNode{Incarnation: node(1)})
	do(r, fsm.RetireNode{Incarnation: node(1)})
	r.view(func(v fsm.View) {
		if v.Members() != 1 || v.Retirement() != 1 || v.Need("default") != 1 {
			t.Errorf("%d members, retirement %d, W %d", v.Members(), v.Retirement(), v.Need("default"))
		}
	})
	refused(r, fsm.ErrNodeRetired, fsm.NodeJoined{Incarnation: node(1)})
	refused(r, fsm.ErrNodeNotDropped, fsm.ClearNode{Incarnation: node(1)})
	do(r, started(1))
	r.expectState(1, entry.Retired)
	do(r, fsm.DropNode{Incarnation: node(1)})
	do(r, fsm.DropNode{Incarnation: node(1)})
	refused(r, fsm.ErrNodeDropped, started(1))
	refused(r, fsm.ErrNodeDropped, fsm.NodeJoined{Incarnation: node(1)})
	refused(r, fsm.ErrNodeDropped, fsm.RetireNode{Incarnation: node(1)})
	old := started(3)
	old.Node.Level = 0
	refused(r, fsm.ErrLevelTooLow, old)
	r.sound()
}

// TestLeaveInOrder is GC R18: a node leaves when all that it holds is elsewhere, in copies that were
// looked at since.
func TestLeaveInOrder(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "y", loc(2, 3), loc(3, 4)))
	drop := fsm.DropCopies{Incarnation: node(1), Store: "default", Digests: []fsm.Digest{dig("x"), dig("y"), dig("z")}}
	refused(r, fsm.ErrNodeNotRetired, drop)
	do(r, fsm.RetireNode{Incarnation: node(1)})
	refused(r, fsm.ErrNodeHasCopies, fsm.DropNode{Incarnation: node(1)})
	add := fsm.AddCopy{Store: "default", Digest: dig("x"), Location: loc(3, 5), Stamp: r.time}
	do(r, add)
	if done := do(r, drop); done.Copies != 0 {
		t.Error("dropped, though one of the two that stay was not hashed again")
	}
	vouch := fsm.VouchCopies{
		Incarnation: node(2), Store: "default", Retirement: 0,
		Copies: []fsm.BlobCopy{{Digest: dig("x"), Copy: fsm.CopyID{2}}, {Digest: dig("x"), Copy: fsm.CopyID{9}}},
	}
	refused(r, fsm.ErrRetirement, vouch)
	vouch.Retirement = 1
	if done := do(r, vouch); done.Copies != 1 {
		t.Errorf("%d vouched for", done.Copies)
	}
	vouch.Incarnation = node(1)
	refused(r, fsm.ErrNodeNoMember, vouch)
	if done := do(r, drop); done.Copies != 1 {
		t.Errorf("%d dropped", done.Copies)
	}
	r.expectCopies("x", loc(2, 2), loc(3, 5))
	do(r, fsm.DropNode{Incarnation: node(1)})
	r.expectState(1, entry.Dropped)
	r.expectState(2, entry.Member)
	r.sound()
}

// TestLostMemberIsDroppedAtOnce drops lost nodes that nobody retired first. A refusal changes nothing: the
// disk may come back, and then the node is the member that it was.
func TestLostMemberIsDroppedAtOnce(t *testing.T) {
	r := newCluster(t, 3)
	do(r, fsm.SetStore{Name: "default", GCDelay: time.Hour, Replicas: 1, WriteAcks: 1})
	do(r, r.upload("a", "sole", loc(1, 1)))
	do(r, r.upload("a", "twice", loc(2, 2), loc(3, 3)))
	expect := func(members int, retirement uint64) {
		t.Helper()
		r.view(func(v fsm.View) {
			if v.Members() != members || v.Retirement() != retirement {
				t.Errorf("%d members, retirement %d; want %d and %d", v.Members(), v.Retirement(), members, retirement)
			}
		})
	}
	refused(r, fsm.ErrSoleCopies, fsm.DropNode{Incarnation: node(1), Lost: true, UnlessSole: true})
	r.expectState(1, entry.Member)
	r.expectCopies("sole", loc(1, 1))
	expect(3, 0)
	do(r, fsm.DropNode{Incarnation: node(2), Lost: true, UnlessSole: true})
	r.expectState(2, entry.Dropped)
	expect(2, 1)
	do(r, fsm.DropNode{Incarnation: node(2), Lost: true, UnlessSole: true})
	expect(2, 1)
	do(r, fsm.RetireNode{Incarnation: node(1)})
	do(r, fsm.DropNode{Incarnation: node(1), Lost: true})
	expect(1, 2) // counted once, when it was retired
	r.sound()
}

// TestLostDisk is GC R19: the node's locations end at once, their records later, a step at a time.
func TestLostDisk(t *testing.T) {
	r := newCluster(t, 3)
	do(r, r.upload("a", "x", loc(1, 1), loc(2, 2)))
	do(r, r.upload("a", "y", loc(2, 3), loc(3, 4)))
	do(r, r.upload("a", "y", loc(2, 5), loc(3, 6)))
	do(r, fsm.RetireNode{Incarnation: node(2)})
	do(r, fsm.DropNode{Incarnation: node(2), Lost: true, UnlessSole: true})
	do(r, fsm.RetireNode{Incarnation: node(1)})
	refused(r, fsm.ErrNotCleared, fsm.DropNode{Incarnation: node(1), Lost: true, UnlessSole: true})
	r.view(func(v fsm.View) {
		if all := v.Uncleared(); len(all) != 1 || all[0] != node(2) {
			t.Errorf("uncleared %v", all)
		}
	})
	if done := do(r, fsm.ClearNode{Incarnation: node(2)}); done != (fsm.NodeCleared{Locations: 2, Doomed: 1}) {
		t.Errorf("cleared %+v", done)
	}
	refused(r, fsm.ErrSoleCopies, fsm.DropNode{Incarnation: node(1), Lost: true, UnlessSole: true})
	do(r, fsm.DropNode{Incarnation: node(1), Lost: true})
	if l, err := r.link("a", "x"); err != nil || !l.Damaged {
		t.Errorf("before it is cleared: %+v, %v", l, err)
	}
	refused(r, fsm.ErrBlobDamaged, fsm.RenewLease{Repository: "a", Digest: dig("x"), Store: "default"})
	r.sound()
	do(r, fsm.ClearNode{Incarnation: node(1)})
	r.expectCopies("x")
	if l, err := r.link("a", "x"); err != nil || !l.Damaged {
		t.Errorf("cleared: %+v, %v", l, err)
	}
	do(r, fsm.CollectBlobs{Store: "default", Digests: []fsm.Digest{dig("x")}})
	r.view(func(v fsm.View) {
		if all := v.Uncleared(); len(all) != 0 {
			t.Errorf("uncleared %v", all)
		}
	})
	r.sound()
}
