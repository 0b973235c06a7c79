package fsm

import (
	"errors"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// RenewLease starts the lease of a link anew. Whoever answers 200 to the HEAD of a caller who may push
// proposes it when less than half of the lease and a tick is left (GC R16). A link that is referred to
// needs no lease and is left alone.
//
// Refused with ErrBlobUnknown or ErrBlobDamaged: the answer is then 404, and the client uploads.
//
// GC R7, R9. Invariant 2.
type RenewLease struct {
	Repository string `cbor:"1,keyasint"`
	Digest     Digest `cbor:"2,keyasint"`
	Store      string `cbor:"3,keyasint"` // of the link, as the proposer saw it; it may have moved since
}

func (RenewLease) wire() kind { return kind{"renew-lease", 1} }

func (c RenewLease) check() error {
	return errors.Join(oci.ValidateRepository(c.Repository), inStore(c.Store), digested(c.Digest))
}

func (c RenewLease) leaseStore() string { return c.Store }

func (c RenewLease) apply(t *tx) (None, error) {
	link, err := t.usable(c.Repository, c.Digest)
	if err != nil {
		return None{}, err
	}
	t.startLease(link.Store, c.Repository, c.Digest)
	return None{}, nil
}
