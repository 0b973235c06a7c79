package fsm

import (
	"bytes"
	"fmt"
)

// The bounds of a cluster's identity, in bytes.
const (
	maxClusterName = 255
	maxClusterID   = 64
)

// Cluster is the identity of the cluster.
type Cluster struct {
	Name string `cbor:"1,keyasint"`
	ID   []byte `cbor:"2,keyasint"` // for ever; S3 keys begin with it
}

// ClusterFormed records the identity of the cluster: the first leader's, after its first election. It
// changes nothing if that id is recorded already.
//
// Refused with ErrClusterFormed if another id is recorded.
type ClusterFormed struct {
	Name string `cbor:"1,keyasint"`
	ID   []byte `cbor:"2,keyasint"`
}

func (ClusterFormed) wire() kind { return kind{"cluster-formed", 1} }

func (c ClusterFormed) check() error {
	switch {
	case len(c.Name) > maxClusterName:
		return fmt.Errorf("a cluster's name has at most %d bytes, not %d", maxClusterName, len(c.Name))
	case len(c.ID) == 0 || len(c.ID) > maxClusterID:
		return fmt.Errorf("a cluster's id has 1 to %d bytes, not %d", maxClusterID, len(c.ID))
	}
	return nil
}

func (c ClusterFormed) apply(t *tx) (None, error) {
	have, formed := load[Cluster](t.reader, meta, keyCluster)
	if formed && !bytes.Equal(have.ID, c.ID) {
		return None{}, ErrClusterFormed.with("it is %x, not %x", have.ID, c.ID)
	}
	if !formed {
		t.save(meta, keyCluster, Cluster(c))
	}
	return None{}, nil
}

// Cluster returns the cluster's identity, and whether it is recorded yet.
func (v View) Cluster() (Cluster, bool) { return load[Cluster](v.reader, meta, keyCluster) }
