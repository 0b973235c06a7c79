package fsm_test

import (
	"bytes"
	"testing"

	"github.com/seed-16d79997/zot/fsm"
)

func TestClusterFormed(t *testing.T) {
	id, other := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	golden(t, fsm.ClusterFormed{Name: "prod", ID: id})
	for _, bad := range []fsm.ClusterFormed{{Name: "prod"}, {Name: "prod", ID: make([]byte, 65)}} {
		if _, err := fsm.Encode(bad); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
	r := newReplica(t)
	if r.ClusterID() != nil || r.Level() != 1 {
		t.Errorf("an empty state has cluster id %x and level %d", r.ClusterID(), r.Level())
	}
	do(r, fsm.ClusterFormed{Name: "prod", ID: id})
	do(r, fsm.ClusterFormed{Name: "again", ID: id})
	refused(r, fsm.ErrClusterFormed, fsm.ClusterFormed{Name: "prod", ID: other})
	r.view(func(v fsm.View) {
		if c, formed := v.Cluster(); !formed || c.Name != "prod" || !bytes.Equal(c.ID, id) {
			t.Errorf("cluster %+v, %t", c, formed)
		}
	})
	if !bytes.Equal(r.ClusterID(), id) {
		t.Errorf("cluster id %x", r.ClusterID())
	}
}
