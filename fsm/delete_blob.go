package fsm

import (
	"errors"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// DeleteBlob ends the link of a blob in one repository; other repositories keep theirs. The blob itself
// is collected when it has no link left.
//
// Refused with:
//   - ErrBlobUnknown if the link does not exist
//   - ErrBlobReferenced, naming a manifest of the repository that refers to it
//
// GC R8. Invariants 2 and 3. Distribution spec, "Deleting Blobs" (end-10).
type DeleteBlob struct {
	Repository string `cbor:"1,keyasint"`
	Digest     Digest `cbor:"2,keyasint"`
}

func (DeleteBlob) wire() kind { return kind{"delete-blob", 1} }

func (c DeleteBlob) check() error {
	return errors.Join(oci.ValidateRepository(c.Repository), digested(c.Digest))
}

func (c DeleteBlob) apply(t *tx) (None, error) {
	if _, err := t.seen(c.Repository, c.Digest); err != nil {
		return None{}, err
	}
	if by, is := t.nameOf(c.Repository, asBlob, c.Digest); is {
		return None{}, ErrBlobReferenced.with("manifest %s refers to %s", by, c.Digest)
	}
	t.saveLink(c.Repository, c.Digest, nil)
	return None{}, nil
}
