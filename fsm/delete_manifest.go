package fsm

import (
	"errors"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxTagsOfDeleted is how many tags may go with one digest. With more it is deleted tag by tag.
const maxTagsOfDeleted = 1000

// DeleteManifest removes a manifest by digest, and every tag that names it, in one step. Links whose count
// falls to zero begin a lease.
//
// Refused with:
//   - ErrManifestUnknown
//   - ErrManifestReferenced, naming it, while an index of the repository lists the manifest
//   - ErrManyTags, naming them, if AtMostOneTag and more than one tag would go
//   - ErrTooManyTags if more than 1,000 would
//   - ErrNeeded, with UnneededAt: see there
//
// GC R8. Invariants 2, 3 and 6. Distribution spec, "Deleting Manifests" (end-9).
type DeleteManifest struct {
	Repository   string `cbor:"1,keyasint"`
	Digest       Digest `cbor:"2,keyasint"`
	AtMostOneTag bool   `cbor:"3,keyasint,omitempty"` // what a caller may do who must not make tags collide

	// UnneededAt is the log index of the state in which the caller saw that nobody needs the manifest; 0 asks
	// nothing. It is needed if a tag names it or its subject is there, and may be if it was pushed, lost a tag
	// or was pulled after that.
	UnneededAt uint64 `cbor:"4,keyasint,omitempty"`
}

func (DeleteManifest) wire() kind { return kind{"delete-manifest", 1} }

func (c DeleteManifest) check() error {
	return errors.Join(oci.ValidateRepository(c.Repository), digested(c.Digest))
}

func (c DeleteManifest) apply(t *tx) (None, error) {
	m, there := t.manifest(c.Repository, c.Digest)
	if !there {
		return None{}, ErrManifestUnknown.with("%s in repository %s", c.Digest, c.Repository)
	}
	names := t.tagsOf(c.Repository, c.Digest, maxTagsOfDeleted+1)
	if err := c.judge(t, m, names); err != nil {
		return None{}, err
	}
	c.remove(t, m)
	for _, tag := range names {
		t.removeTag(c.Repository, tag)
	}
	return None{}, nil
}

func (c DeleteManifest) judge(t *tx, m manifestRecord, names []string) error {
	if by, is := t.nameOf(c.Repository, asManifest, c.Digest); is {
		return ErrManifestReferenced.with("index %s lists %s", by, c.Digest)
	}
	switch {
	case c.UnneededAt != 0:
		return c.judgeNeed(t, m, names)
	case len(names) > maxTagsOfDeleted:
		return ErrTooManyTags.with("%s has more than %d; delete them first", c.Digest, maxTagsOfDeleted)
	case c.AtMostOneTag && len(names) > 1:
		return ErrManyTags.with("%s", enumerate(names))
	}
	return nil
}

// judgeNeed refuses if somebody needs the manifest, or may.
func (c DeleteManifest) judgeNeed(t *tx, m manifestRecord, names []string) error {
	if len(names) > 0 {
		return ErrNeeded.with("tag %s names %s", names[0], c.Digest)
	}
	if m.Touched > c.UnneededAt {
		return ErrNeeded.with("%s was pushed or untagged by entry %d", c.Digest, m.Touched)
	}
	if _, there := t.manifest(c.Repository, m.Subject); there {
		return ErrNeeded.with("%s, the subject of %s, is there", m.Subject, c.Digest)
	}
	return t.judgePulls(c.Repository, c.Digest, c.UnneededAt)
}

// remove deletes what PutManifest has inserted.
func (c DeleteManifest) remove(t *tx, m manifestRecord) {
	key := within(c.Repository, string(c.Digest))
	refs := t.references(c.Repository, c.Digest)
	for _, d := range refs.Blobs {
		t.del(namedBy, namedByKey(c.Repository, asBlob, d, c.Digest))
		t.countReference(c.Repository, d, false)
	}
	for _, d := range refs.Manifests {
		t.del(namedBy, namedByKey(c.Repository, asManifest, d, c.Digest))
		t.settle(c.Repository, d)
	}
	if m.Subject != "" {
		t.del(referrers, referrerKey(c.Repository, m.Subject, m.ArtifactType, c.Digest))
	}
	for _, b := range []bucket{manifests, bodies, references, loose, pulls} {
		t.del(b, key)
	}
	t.changeRepository(c.Repository, "", func(r *repositoryRecord) { r.countManifest(-1, -m.inState()) })
}
