package fsm

import (
	"errors"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// Mount makes a blob of one repository visible in another: the lease of the other's link starts. Store
// is where the blob of From is, and that of To; of its first write if To does not exist yet.
//
// Refused with (the client is told to upload):
//   - ErrBlobUnknown if the link of From does not exist now
//   - ErrBlobDamaged
//   - ErrWrongStore if the blob of From is in another store, or To is: there the bytes are not
//   - ErrQuotaExceeded or ErrTooManyRepositories, unless To has the blob already
//
// GC R7, R9. Invariant 2.
type Mount struct {
	From   string `cbor:"1,keyasint"`
	To     string `cbor:"2,keyasint"`
	Digest Digest `cbor:"3,keyasint"`
	Store  string `cbor:"4,keyasint"`
}

func (Mount) wire() kind { return kind{"mount", 1} }

func (c Mount) check() error {
	return errors.Join(oci.ValidateRepository(c.From), oci.ValidateRepository(c.To), inStore(c.Store), digested(c.Digest))
}

func (c Mount) leaseStore() string { return c.Store }

func (c Mount) apply(t *tx) (None, error) {
	if c.To == "" || c.Store == "" {
		return None{}, ErrInvalid
	}
	link, err := t.usable(c.From, c.Digest)
	if err != nil {
		return None{}, err
	}
	if to := t.storeOf(c.To, c.Store); to != c.Store || link.Store != c.Store {
		return None{}, ErrWrongStore.with("%s of repository %s is in store %s, %s in %s, not in %s", c.Digest, c.From, link.Store, c.To, to, c.Store)
	}
	b, _ := t.blob(c.Store, c.Digest)
	if err := t.judgeLink(c.To, c.Digest, b.Size); err != nil {
		return None{}, err
	}
	t.startLease(c.Store, c.To, c.Digest)
	return None{}, nil
}
