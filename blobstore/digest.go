package blobstore

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"
)

// NewHash returns the running hash of an algorithm; "" stands for sha256. It returns ErrDigestUnsupported
// for any but sha256 and sha512.
func NewHash(a digest.Algorithm) (hash.Hash, error) {
	switch a {
	case "", digest.SHA256:
		return sha256.New(), nil
	case digest.SHA512:
		return sha512.New(), nil
	default:
		return nil, fmt.Errorf("%w: algorithm %q", ErrDigestUnsupported, string(a))
	}
}

// CheckDigest returns ErrDigestUnsupported unless d is a whole sha256 or sha512 digest.
func CheckDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrDigestUnsupported, string(d), err)
	}
	_, err := NewHash(d.Algorithm())
	return err
}
