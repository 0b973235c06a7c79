package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/fsm/oci"
)

// Content is what a repository has, for an extension that looks into it. It reads this node's state as it is at each call:
// whoever needs the newest one waits for it before. It judges nobody, and counts no pulls. It may be used concurrently.
type Content struct {
	registry   *Registry
	repository string
}

// Content returns what a repository has.
func (g *Registry) Content(repository string) Content { return Content{g, repository} }

// Resolve returns the manifest that a tag or digest names. It fails with fsm.ErrRepositoryUnknown or fsm.ErrManifestUnknown.
func (c Content) Resolve(ref oci.Reference) (v1.Descriptor, error) {
	var m fsm.Manifest
	err := c.registry.state.View(func(v fsm.View) (err error) {
		m, err = v.Resolve(c.repository, ref)
		return err
	})
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest.Unpack(), Size: m.Size}, nil
}

// Tagged returns the digest of the manifest that a tag names; ok false if there is none.
func (c Content) Tagged(_ context.Context, tag string) (d digest.Digest, ok bool, err error) {
	m, err := c.Resolve(oci.Reference{Tag: tag})
	if isMissing(err) {
		return "", false, nil
	}
	return m.Digest, err == nil, err
}

// Referrers returns the manifests of an artifact type that have a subject, n of them at most, in the order of their digests.
func (c Content) Referrers(_ context.Context, subject digest.Digest, artifactType string, n int) (all []digest.Digest, err error) {
	packed, err := fsm.Pack(subject)
	if err != nil {
		return nil, err
	}
	err = c.registry.state.View(func(v fsm.View) error {
		for _, one := range v.Referrers(c.repository, packed, artifactType, fsm.Referrer{}, n) {
			all = append(all, one.Digest.Unpack())
		}
		return nil
	})
	return all, err
}

// Manifest returns the bytes of a manifest, which belong to this package; ok false if there is none, or if it has more than most: then it is
// not read. It fails as a pull does.
func (c Content) Manifest(ctx context.Context, d digest.Digest, most int64) (body []byte, ok bool, err error) {
	var f found
	err = c.registry.state.View(func(v fsm.View) (err error) {
		f, err = find(v, request{repository: c.repository, reference: oci.Reference{Digest: d}})
		return err
	})
	if err == nil && f.Size > most {
		return nil, false, nil
	}
	if err == nil {
		body, err = c.registry.bodyOfManifest(ctx, c.repository, f)
	}
	if isMissing(err) {
		return nil, false, nil
	}
	return body, err == nil, err
}

// Blob returns the bytes of a blob; ok false if there is none, or if it has more than most. It fails as a pull does.
func (c Content) Blob(ctx context.Context, of v1.Descriptor, most int64) (body []byte, ok bool, err error) {
	var b stored
	err = c.registry.state.View(func(v fsm.View) (err error) {
		b, err = visible(v, c.repository, of.Digest)
		return err
	})
	switch {
	case isMissing(err), err == nil && b.Size > most:
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	stream, err := c.registry.openBlob(ctx, c.repository, b, span{0, b.Size})
	if err != nil {
		if isMissing(err) { // deleted meanwhile
			return nil, false, nil
		}
		return nil, false, err
	}
	defer func() { _ = stream.Close() }() // it was only read
	body = make([]byte, b.Size)
	if _, err := io.ReadFull(stream, body); err != nil {
		return nil, false, fmt.Errorf("read blob %s: %w", b.Digest, err)
	}
	if have := b.Digest.Algorithm().FromBytes(body); have != b.Digest {
		return nil, false, fmt.Errorf("read blob %s: %w: it has %s", b.Digest, blobstore.ErrCopyDamaged, have)
	}
	return body, true, nil
}

// isMissing reports whether an error says that something is not in a repository.
func isMissing(err error) bool {
	for _, missing := range []error{
		fsm.ErrRepositoryUnknown, fsm.ErrManifestUnknown, fsm.ErrTagUnknown, fsm.ErrBlobUnknown, errBlobUnknown, oci.ErrDigestInvalid,
	} {
		if errors.Is(err, missing) {
			return true
		}
	}
	return false
}
