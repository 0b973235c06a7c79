// Package transfer copies images between places: from a zot directory, an OCI image layout, a bucket or another
// registry to a node, and from a node to image layouts. It runs in the process of 'zot import' and 'zot export', and
// knows of the cluster only what any client of a registry knows, and what a node's operator may ask beside that
// (node.go).
//
// Start with Copy: it takes every manifest of a Source with all that it needs, children and blobs first, to a Target.
// What the target has is not read from the source, so a copy that was interrupted goes on where it was. What is wrong
// with one image is told, and keeps no other.
//
// Nothing here is trusted: every manifest is hashed when it is read, and every blob where it arrives (invariants 1
// and 11), by the upload that takes it, or by the node after a link.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
)

// Root is a manifest that a repository has by itself, not only as a part of another.
type Root struct {
	Digest    digest.Digest // "": what the tag names is asked when it is its turn
	MediaType string        // "": the body says
	Size      int64         // of the body; 0: not known
	Tags      []string
}

// Manifest is one that was read; its body hashes to its digest.
type Manifest struct {
	Digest    digest.Digest
	MediaType string
	Body      []byte
}

// ErrNotFound is for what a source or target does not have.
var ErrNotFound = errors.New("not there")

// Source is where images come from. Its methods may be called concurrently. They fail with ErrNotFound for what is
// not there.
type Source interface {
	// Repositories lists those that there are.
	Repositories(ctx context.Context) ([]string, error)
	// Roots lists the manifests of a repository. What they list or refer to is found from them.
	Roots(ctx context.Context, repository string) ([]Root, error)
	// Resolve says which manifest a tag names. It is asked only for a Root without a digest.
	Resolve(ctx context.Context, repository, tag string) (digest.Digest, error)
	// Manifest reads a manifest.
	Manifest(ctx context.Context, repository string, d digest.Digest) (Manifest, error)
	// Blob opens a blob. Nothing of it is checked. The size is -1 where it is not known.
	Blob(ctx context.Context, repository string, d digest.Digest) (io.ReadCloser, int64, error)
	// Referrers lists the manifests whose subject is d, unless Roots has all of them.
	Referrers(ctx context.Context, repository string, d digest.Digest) ([]digest.Digest, error)
}

// Filed is a Source whose blobs are files of this machine.
type Filed interface {
	// File says where the file of a blob is: below a directory out of which no name leads.
	//   - ErrNotFound if it is no plain file
	File(repository string, d digest.Digest) (directory, name string, size int64, err error)
}

// Target is where images go. Its methods may be called concurrently. An error that is ErrTarget is about all of it:
// the copy ends.
type Target interface {
	// HasBlob reports whether a repository has a blob that may be relied on.
	HasBlob(ctx context.Context, repository string, d digest.Digest) (bool, error)
	// Mount gives a repository a blob of another one. It returns false if that is not possible.
	Mount(ctx context.Context, repository, from string, d digest.Digest) (bool, error)
	// PutBlob takes a blob and verifies its digest. It may call open more than once.
	PutBlob(ctx context.Context, repository string, d digest.Digest, open Opener) error
	// Manifest reads a manifest.
	//   - ErrNotFound
	Manifest(ctx context.Context, repository string, d digest.Digest) (Manifest, error)
	// Tag says which manifest a tag names.
	//   - ErrNotFound
	Tag(ctx context.Context, repository, tag string) (digest.Digest, error)
	// PutManifest takes a manifest, whose parts are there, and sets tags if they are as the caller believes.
	//   - ErrTagChanged
	//   - ErrBlobMissing if a part is not there any more
	PutManifest(ctx context.Context, repository string, m Manifest, tags Tags) error
	// Done says that the roots of a repository that could be taken are there. Those that failed are not among them.
	Done(ctx context.Context, repository string, taken []Root) error
}

// Opener opens the bytes of a blob; the size is -1 where it is not known.
type Opener func() (io.ReadCloser, int64, error)

// Tags are tags that are to name a manifest, and what they must name before: nothing, if Are is "".
type Tags struct {
	Names []string
	Are   digest.Digest
}

// Linked is a Target that can make a blob of a file.
type Linked interface {
	// Link returns why it cannot, "" if it has. Never says that it cannot for any other file either.
	Link(ctx context.Context, repository string, d digest.Digest, size int64, directory, name string) (why string, never bool, err error)
}

// What a target answers.
var (
	// ErrTarget is for a target that is not to be had.
	ErrTarget      = errors.New("target cannot be reached")
	ErrTagChanged  = errors.New("tag names another manifest by now")
	ErrBlobMissing = errors.New("a part of the manifest is not there")
)

// checked makes a manifest of a body that must hash to d.
func checked(d digest.Digest, mediaType string, body []byte) (Manifest, error) {
	if err := d.Validate(); err != nil {
		return Manifest{}, fmt.Errorf("digest %s: %w", d, err)
	}
	if have := d.Algorithm().FromBytes(body); have != d {
		return Manifest{}, fmt.Errorf("its bytes hash to %s", have)
	}
	return Manifest{Digest: d, MediaType: mediaType, Body: body}, nil
}
