package fsm

import (
	"errors"
	"slices"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// RestoreTag makes a tag name a manifest again that it named before, whether or not it exists now.
//
// Refused with:
//   - ErrTagUnknown if the tag's history does not have this manifest
//   - ErrManifestUnknown if the manifest is not there any more
//   - ErrTagCondition
//
// Invariant 6.
type RestoreTag struct {
	Repository string       `cbor:"1,keyasint"`
	Tag        string       `cbor:"2,keyasint"`
	Digest     Digest       `cbor:"3,keyasint"`
	If         TagCondition `cbor:"4,keyasint,omitempty"`
}

func (RestoreTag) wire() kind { return kind{"restore-tag", 1} }

func (c RestoreTag) check() error {
	return errors.Join(oci.ValidateRepository(c.Repository), oci.ValidateTag(c.Tag), digested(c.Digest))
}

func (c RestoreTag) apply(t *tx) (None, error) {
	h := t.tagHistory(c.Repository, c.Tag)
	if !slices.ContainsFunc(h.Entries, func(e historyEntry) bool { return e.Digest == c.Digest }) {
		return None{}, ErrTagUnknown.with("%s was never %s, or it is forgotten", c.Tag, c.Digest)
	}
	if _, there := t.manifest(c.Repository, c.Digest); !there {
		return None{}, ErrManifestUnknown.with("%s in repository %s", c.Digest, c.Repository)
	}
	if err := t.judgeTag(c.Repository, c.Tag, c.If, c.Digest); err != nil {
		return None{}, err
	}
	t.setTag(c.Repository, c.Tag, c.Digest)
	t.settle(c.Repository, c.Digest)
	return None{}, nil
}
