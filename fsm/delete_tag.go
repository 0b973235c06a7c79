package fsm

import (
	"errors"
	"fmt"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// DeleteTag removes a tag and nothing else: the manifest stays, and the tag can be brought back by
// RestoreTag while its history is kept.
//
// Refused with:
//   - ErrTagUnknown
//   - ErrTagCondition
//   - ErrNeeded, with UnneededAt: see there
//
// Invariant 6. Distribution spec, "Deleting tags" (end-9).
type DeleteTag struct {
	Repository string       `cbor:"1,keyasint"`
	Tag        string       `cbor:"2,keyasint"`
	If         TagCondition `cbor:"3,keyasint,omitempty"`

	// UnneededAt is the log index of the state in which the caller saw that nobody needs the tag; 0 asks
	// nothing. It may be needed if it was pushed after that, as another manifest or as the same again, if its
	// manifest was pulled, or if a manifest is there whose digest begins with Subject, unless that is empty.
	UnneededAt uint64 `cbor:"4,keyasint,omitempty"`
	Subject    []byte `cbor:"5,keyasint,omitempty"`
}

func (DeleteTag) wire() kind { return kind{"delete-tag", 1} }

func (c DeleteTag) check() error {
	if len(c.Subject) > maxDigest {
		return fmt.Errorf("the beginning of a digest has %d bytes, at most %d", len(c.Subject), maxDigest)
	}
	return errors.Join(oci.ValidateRepository(c.Repository), oci.ValidateTag(c.Tag))
}

func (c DeleteTag) apply(t *tx) (None, error) {
	now, exists := t.tag(c.Repository, c.Tag)
	if !exists {
		return None{}, ErrTagUnknown.with("%s in repository %s", c.Tag, c.Repository)
	}
	if err := t.judgeTag(c.Repository, c.Tag, c.If, ""); err != nil {
		return None{}, err
	}
	if c.UnneededAt != 0 {
		if err := c.judgeNeed(t, now); err != nil {
			return None{}, err
		}
	}
	t.removeTag(c.Repository, c.Tag)
	return None{}, nil
}

// judgeNeed refuses if somebody may need the tag.
func (c DeleteTag) judgeNeed(t *tx, now tagRecord) error {
	if now.Pushed > c.UnneededAt {
		return ErrNeeded.with("tag %s was pushed by entry %d", c.Tag, now.Pushed)
	}
	if len(c.Subject) > 0 {
		if d, there := t.manifestLike(c.Repository, c.Subject); there {
			return ErrNeeded.with("%s, the subject of tag %s, is there", d, c.Tag)
		}
	}
	return t.judgePulls(c.Repository, now.Digest, c.UnneededAt)
}
