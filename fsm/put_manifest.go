package fsm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxTagsAPut is how many tags one PutManifest may set. zot takes 46.
const maxTagsAPut = 64

// maxNamed is how many names of missing blobs, or of tags, a refusal spells out.
const maxNamed = 20

// PutManifest makes a manifest, its tags and its place in the referrers index visible in one step, all or
// nothing.
//
// Body is the manifest as pushed, at most 48 KiB; a larger body is a blob of the repository, counted like
// the other Blobs, and Body is empty. Manifests are the children of an index, Optional the blobs that may
// be absent (non-distributable layers): those that are there are counted and kept. Subject may be absent
// and keeps nothing alive. Store is the repository's, should it not exist yet. Pushing the same digest again
// moves tags, makes tags and manifest ones that were pushed now, and changes nothing else.
//
// Refused with:
//   - ErrManifestBlobUnknown if a blob has no link in this repository or is damaged, or a child is no manifest
//     of it; the detail names them
//   - ErrTagCondition if a tag's condition does not hold
//   - ErrQuotaExceeded or ErrTooManyRepositories, unless the repository has the manifest already
//
// GC R8, R9. Invariants 2, 3 and 6. Distribution spec, "Pushing Manifests" (end-7a, end-7b).
type PutManifest struct {
	Repository   string            `cbor:"1,keyasint"`
	Store        string            `cbor:"2,keyasint"`
	Digest       Digest            `cbor:"3,keyasint"`
	Size         int64             `cbor:"4,keyasint"`
	MediaType    string            `cbor:"5,keyasint"`
	Body         []byte            `cbor:"6,keyasint,omitempty"`
	Blobs        []Digest          `cbor:"7,keyasint,omitempty"`
	Optional     []Digest          `cbor:"8,keyasint,omitempty"`
	Manifests    []Digest          `cbor:"9,keyasint,omitempty"`
	Subject      Digest            `cbor:"10,keyasint,omitempty"`
	ArtifactType string            `cbor:"11,keyasint,omitempty"`
	Annotations  map[string]string `cbor:"12,keyasint,omitempty"` // at most 16 KiB; else none, and InBody
	InBody       bool              `cbor:"13,keyasint,omitempty"` // the referrers answer reads them from the body
	Tags         []TagMove         `cbor:"14,keyasint,omitempty"`
}

// TagMove sets a tag to the manifest that is put, if its condition holds.
type TagMove struct {
	Tag string       `cbor:"1,keyasint"`
	If  TagCondition `cbor:"2,keyasint,omitempty"`
}

// TagCondition is what must be true of a tag for a command to change it. The zero value always is.
type TagCondition struct {
	// Absent: the tag must not exist. One that is already as wanted does not move, so it is fine too: a
	// push that is repeated because its answer was lost must not fail.
	Absent bool   `cbor:"1,keyasint,omitempty"`
	Is     Digest `cbor:"2,keyasint,omitempty"` // the tag must name this manifest
}

// ManifestPut is the result of PutManifest.
type ManifestPut struct {
	Created bool `cbor:"1,keyasint,omitempty"` // false: the repository had this manifest
}

func (PutManifest) wire() kind { return kind{"put-manifest", 1} }

func (c PutManifest) check() error {
	n := len(c.Blobs) + len(c.Optional) + len(c.Manifests)
	annotations := 0
	for k, v := range c.Annotations {
		annotations += len(k) + len(v)
	}
	switch {
	case len(c.Body) > maxInline:
		return fmt.Errorf("a body of %d bytes is a blob: at most %d go into the log", len(c.Body), maxInline)
	case c.Size < 1 || c.Size > maxManifest:
		return fmt.Errorf("size %d is not 1 to %d", c.Size, maxManifest)
	case len(c.Body) > 0 && c.Size != int64(len(c.Body)):
		return fmt.Errorf("size %d of a body of %d bytes", c.Size, len(c.Body))
	case n > maxReferences:
		return fmt.Errorf("%d references, at most %d", n, maxReferences)
	case annotations > maxAnnotations:
		return fmt.Errorf("annotations of %d bytes, at most %d", annotations, maxAnnotations)
	case len(c.Tags) > maxTagsAPut:
		return fmt.Errorf("%d tags, at most %d", len(c.Tags), maxTagsAPut)
	case len(c.Body) > 0 && c.Digest != "" && c.Digest.Unpack().Algorithm().FromBytes(c.Body) != c.Digest.Unpack():
		return fmt.Errorf("the body is not %s", c.Digest)
	}
	return errors.Join(oci.ValidateRepository(c.Repository), inStore(c.Store), digested(c.Digest),
		mediaType(c.MediaType), mediaType(c.ArtifactType), c.checkTags(), c.checkReferences())
}

func (c PutManifest) checkTags() error {
	for _, m := range c.Tags {
		if err := oci.ValidateTag(m.Tag); err != nil {
			return err
		}
	}
	return nil
}

func (c PutManifest) checkReferences() error {
	for _, list := range [][]Digest{c.Blobs, c.Optional, c.Manifests} {
		if slices.Contains(list, "") {
			return errNoDigest
		}
	}
	return nil
}

// mediaType is the check of a media type or artifact type. It is part of keys: no control characters.
func mediaType(s string) error {
	if len(s) > maxMediaType || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		return fmt.Errorf("media type %.80q is malformed or has more than %d bytes", s, maxMediaType)
	}
	return nil
}

func (c PutManifest) apply(t *tx) (ManifestPut, error) {
	if c.Repository == "" || c.Store == "" || c.Digest == "" {
		return ManifestPut{}, ErrInvalid
	}
	refs := c.names()
	_, had := t.manifest(c.Repository, c.Digest)
	if err := c.judge(t, refs, had); err != nil {
		return ManifestPut{}, err
	}
	if had {
		t.touch(c.Repository, c.Digest, func(m *manifestRecord) { m.PushedAt = max(m.PushedAt, t.date) })
	} else {
		c.insert(t, refs)
	}
	for _, m := range c.Tags {
		t.setTag(c.Repository, m.Tag, c.Digest)
	}
	t.settle(c.Repository, c.Digest)
	return ManifestPut{Created: !had}, nil
}

// names is what the manifest must find, a large body among it.
func (c PutManifest) names() referencesRecord {
	refs := referencesRecord{Blobs: c.Blobs, Manifests: distinct(c.Manifests)}
	if len(c.Body) == 0 {
		refs.Blobs = append(slices.Clone(refs.Blobs), c.Digest)
	}
	refs.Blobs = distinct(refs.Blobs)
	return refs
}

// judge says what speaks against the command.
func (c PutManifest) judge(t *tx, refs referencesRecord, had bool) error {
	var missing []string
	for _, d := range refs.Blobs {
		if _, err := t.usable(c.Repository, d); err != nil {
			missing = append(missing, "blob "+d.String())
		}
	}
	for _, d := range refs.Manifests {
		if _, there := t.manifest(c.Repository, d); !there {
			missing = append(missing, "manifest "+d.String())
		}
	}
	if len(missing) > 0 {
		return ErrManifestBlobUnknown.with("%s", enumerate(missing))
	}
	for _, m := range c.Tags {
		if err := t.judgeTag(c.Repository, m.Tag, m.If, c.Digest); err != nil {
			return err
		}
	}
	if had {
		return nil
	}
	return t.judgeGrowth(c.Repository, int64(len(c.Body)))
}

// enumerate spells out the first of some names.
func enumerate(names []string) string {
	if len(names) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
	}
	return strings.Join(names, ", ")
}

// insert writes a manifest that the repository does not have.
func (c PutManifest) insert(t *tx, refs referencesRecord) {
	for _, d := range distinct(c.Optional) {
		if _, err := t.usable(c.Repository, d); err == nil {
			refs.Blobs = append(refs.Blobs, d)
		}
	}
	refs.Blobs = distinct(refs.Blobs)
	key := within(c.Repository, string(c.Digest))
	t.save(manifests, key, manifestRecord{
		Size: c.Size, MediaType: c.MediaType, Inline: len(c.Body) > 0,
		Subject: c.Subject, ArtifactType: c.ArtifactType, PushedAt: t.date, Touched: t.index,
	})
	if len(c.Body) > 0 {
		t.put(bodies, key, c.Body)
	}
	t.save(references, key, refs)
	for _, d := range refs.Blobs {
		t.put(namedBy, namedByKey(c.Repository, asBlob, d, c.Digest), nil)
		t.countReference(c.Repository, d, true)
	}
	for _, d := range refs.Manifests {
		t.put(namedBy, namedByKey(c.Repository, asManifest, d, c.Digest), nil)
		t.settle(c.Repository, d)
	}
	if c.Subject != "" {
		t.save(referrers, referrerKey(c.Repository, c.Subject, c.ArtifactType, c.Digest), referrerRecord{
			Digest: c.Digest, Size: c.Size, MediaType: c.MediaType,
			ArtifactType: c.ArtifactType, Annotations: c.Annotations, InBody: c.InBody,
		})
	}
	t.changeRepository(c.Repository, c.Store, func(r *repositoryRecord) {
		r.countManifest(1, int64(len(c.Body))) // a large one is counted by its link
	})
}
