package fsm_test

import (
	"testing"

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
	golden(t, fsm.RetireNode{Incarnation: node(1)})
	golden(t, fsm.DropNode{Incarnation: node(1), Lost: true, UnlessSole: true})
}
