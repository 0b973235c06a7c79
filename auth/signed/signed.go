// Package signed finds out who has signed an image, by the keys and certificates that administrators trust.
//
// It knows nothing of HTTP, of how keys are kept, or of configuration.
package signed

import (
	"context"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tool is what a signature is made with.
type Tool string

// The tools whose signatures are found.
const (
	Cosign   Tool = "cosign"
	Notation Tool = "notation"
)

// Trusted is a public key (cosign), or certificates (notation), that an administrator has given.
type Trusted struct {
	Tool    Tool
	Store   string // of notation, the kind of trust store: one of Stores
	Content []byte // PEM; certificates also DER
}

// Check fails for what nobody could be trusted by; the message says what to do.
func (t Trusted) Check() error { return nil }

// Stores returns the kinds of trust stores that notation has.
func Stores() []string { return []string{"ca", "signingAuthority", "tsa"} }

// Repository is where an image and its signatures lie. Errors other than "is not there" are returned by Of.
type Repository interface {
	// Tagged returns the digest of the manifest that a tag names; ok false if there is none.
	Tagged(ctx context.Context, tag string) (d digest.Digest, ok bool, err error)
	// Referrers returns the manifests that have a subject, at most n of them, with their artifact types.
	Referrers(ctx context.Context, subject digest.Digest, n int) ([]v1.Descriptor, error)
	// Manifest returns bytes that have been verified against the digest; ok false if there are none.
	Manifest(ctx context.Context, d digest.Digest) (body []byte, ok bool, err error)
	// Blob is Manifest for a blob; ok false also if it is larger than most, in bytes.
	Blob(ctx context.Context, d v1.Descriptor, most int64) (body []byte, ok bool, err error)
}

// Signature is one that somebody has put beside an image.
type Signature struct {
	Tool    Tool
	Digest  digest.Digest // of the manifest that has it
	Trusted bool
	// Author is, of cosign, the key in PEM that verifies it, "" if none does; of notation, the subject of the
	// signer's certificate, also if it is not trusted.
	Author string
}

// Of returns the signatures of an image (a manifest or index), in a stable order, at most 100 of them.
func Of(ctx context.Context, in Repository, image v1.Descriptor, trusted []Trusted) ([]Signature, error) {
	return nil, nil
}
