package oci

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// references returns what the document refers to: what must be present, and what may be.
func (doc *document) references() (required, optional []Ref, err error) {
	c := collector{at: map[digest.Digest]int{}}
	if doc.Config != nil {
		if err := c.add("config", doc.Config, false, true); err != nil {
			return nil, nil, err
		}
	}
	for i := range doc.Layers {
		d := &doc.Layers[i]
		if err := c.add(fmt.Sprintf("layers[%d]", i), d, false, !mayBeAbsent(d.MediaType)); err != nil {
			return nil, nil, err
		}
	}
	for i := range doc.Manifests {
		d := &doc.Manifests[i]
		// An index may list blobs too (build caches are pushed like that). What is not of a media type
		// that we keep as a manifest can only be here as a blob.
		if err := c.add(fmt.Sprintf("manifests[%d]", i), d, isManifest(normalMediaType(d.MediaType)), true); err != nil {
			return nil, nil, err
		}
	}
	for _, r := range c.refs {
		if r.required {
			required = append(required, r.Ref)
		} else {
			optional = append(optional, r.Ref)
		}
	}
	return required, optional, nil
}

// collector gathers references, each digest once.
type collector struct {
	refs []collected
	at   map[digest.Digest]int // where in refs a digest is
}

type collected struct {
	Ref
	required bool // by at least one mention
}

// add takes the descriptor d, found at the place named where.
func (c *collector) add(where string, d *v1.Descriptor, manifest, required bool) error {
	if err := checkDescriptor(where, d); err != nil {
		return err
	}
	i, seen := c.at[d.Digest]
	if !seen {
		if len(c.refs) == MaxReferences {
			return fmt.Errorf("%w: more than %d distinct digests", ErrTooManyReferences, MaxReferences)
		}
		c.at[d.Digest] = len(c.refs)
		ref := Ref{Digest: d.Digest, Manifest: manifest, Size: d.Size, MediaType: d.MediaType}
		c.refs = append(c.refs, collected{Ref: ref, required: required})
		return nil
	}
	known := &c.refs[i]
	if known.Size != d.Size {
		return invalid("%s: size of %s is %d here and %d before", where, d.Digest, d.Size, known.Size)
	}
	if known.Manifest != manifest {
		return invalid("%s: %s is listed both as a manifest and as a blob", where, d.Digest)
	}
	known.required = known.required || required
	return nil
}

// checkDescriptor judges the descriptor found at the place named where.
func checkDescriptor(where string, d *v1.Descriptor) error {
	if _, err := ParseDigest(string(d.Digest)); err != nil {
		// Not wrapped: the digest in question is not that of the request, and what is wrong is the manifest.
		return invalid("%s: %s", where, err.Error())
	}
	switch {
	case d.Size < 0:
		return invalid("%s: size is %d", where, d.Size)
	case d.MediaType == "":
		return invalid("%s: mediaType is empty", where)
	case len(d.MediaType) > maxMediaType:
		return invalid("%s: mediaType has more than %d characters", where, maxMediaType)
	}
	return nil
}
