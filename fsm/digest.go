package fsm

import (
	"crypto/sha512"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxDigest is the size of the longest Digest, a SHA-512.
const maxDigest = 1 + sha512.Size

// Digest is a digest as it travels and is stored: algorithm byte and raw bytes, half as long as its
// text. "" is none.
type Digest string

// Pack returns d in the form in which commands and views have it. It fails with oci.ErrDigestInvalid.
func Pack(d digest.Digest) (Digest, error) {
	parsed, err := oci.ParseDigest(string(d))
	if err != nil {
		return "", fmt.Errorf("pack digest: %w", err)
	}
	return Digest(oci.AppendDigest(nil, parsed)), nil
}

// Unpack is the inverse of Pack; "" of "".
func (d Digest) Unpack() digest.Digest {
	u, _, err := oci.DecodeDigest([]byte(d))
	if err != nil {
		return "" // only what is none: all others came through Pack or UnmarshalBinary
	}
	return u
}

// String is the digest as people and the distribution specification write it.
func (d Digest) String() string { return d.Unpack().String() }

// MarshalText is String, for JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// MarshalBinary makes a byte string of d in CBOR.
func (d Digest) MarshalBinary() ([]byte, error) { return []byte(d), nil }

// UnmarshalBinary is the inverse of MarshalBinary; it fails with oci.ErrDigestInvalid.
func (d *Digest) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		*d = ""
		return nil
	}
	_, rest, err := oci.DecodeDigest(b)
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("digest: %w: %d bytes too many", oci.ErrDigestInvalid, len(rest))
	}
	*d = Digest(b)
	return nil
}

// errNoDigest is what check says of a command that must have a digest and does not.
var errNoDigest = fmt.Errorf("%w: none", oci.ErrDigestInvalid)
