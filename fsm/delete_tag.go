package fsm

import (
	"errors"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// DeleteTag removes a tag and nothing else: the manifest stays, and the tag can be brought back by
// RestoreTag while its history is kept.
//
// Refused with:
//   - ErrTagUnknown
//   - ErrTagCondition
//
// Invariant 6. Distribution spec, "Deleting tags" (end-9).
type DeleteTag struct {
	Repository string       `cbor:"1,keyasint"`
	Tag        string       `cbor:"2,keyasint"`
	If         TagCondition `cbor:"3,keyasint,omitempty"`
}

func (DeleteTag) wire() kind { return kind{"delete-tag", 1} }

func (c DeleteTag) check() error {
	return errors.Join(oci.ValidateRepository(c.Repository), oci.ValidateTag(c.Tag))
}

func (c DeleteTag) apply(t *tx) (None, error) {
	if _, exists := t.tag(c.Repository, c.Tag); !exists {
		return None{}, ErrTagUnknown.with("%s in repository %s", c.Tag, c.Repository)
	}
	if err := t.judgeTag(c.Repository, c.Tag, c.If, ""); err != nil {
		return None{}, err
	}
	t.removeTag(c.Repository, c.Tag)
	return None{}, nil
}
