package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ErrDigestInvalid is returned for a digest that is malformed or of an algorithm other than sha256
// and sha512.
var ErrDigestInvalid = errors.New("invalid digest")

// The algorithm bytes of the compact form. They are in the log and in the state: never renumber them.
const (
	wireSHA256 = 1
	wireSHA512 = 2
)

// rawSize is the length in bytes of a digest under alg, or 0 if we do not support alg.
func rawSize(alg digest.Algorithm) int {
	switch alg {
	case digest.SHA256:
		return sha256.Size
	case digest.SHA512:
		return sha512.Size
	default:
		return 0 // sha384, which go-digest has, is not registered in the image specification
	}
}

// ParseDigest returns s as a digest: sha256 or sha512, and lower-case hex of the right length.
//
// Errors: ErrDigestInvalid.
func ParseDigest(s string) (digest.Digest, error) {
	alg, encoded, found := strings.Cut(s, ":")
	if !found {
		return "", fmt.Errorf("%w: %q has no algorithm", ErrDigestInvalid, clip(s))
	}
	size := rawSize(digest.Algorithm(alg))
	if size == 0 {
		return "", fmt.Errorf("%w: algorithm %q is not sha256 or sha512", ErrDigestInvalid, clip(alg))
	}
	if len(encoded) != 2*size {
		return "", fmt.Errorf("%w: %s has %d characters, not %d", ErrDigestInvalid, alg, len(encoded), 2*size)
	}
	if strings.Trim(encoded, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%w: %q is not lower-case hex", ErrDigestInvalid, clip(encoded))
	}
	return digest.Digest(s), nil
}

// ParseAlgorithm returns s as an algorithm that content may be pushed under.
//
// Errors: ErrDigestInvalid.
func ParseAlgorithm(s string) (digest.Algorithm, error) {
	if rawSize(digest.Algorithm(s)) == 0 {
		return "", fmt.Errorf("%w: algorithm %q is not sha256 or sha512", ErrDigestInvalid, clip(s))
	}
	return digest.Algorithm(s), nil
}

// AppendDigest appends the compact form of d to b: one byte for the algorithm, then the raw digest.
// DecodeDigest reads it back. It panics if d has not come from ParseDigest or DecodeDigest: a digest
// that no other node can decode must never get into the log.
func AppendDigest(b []byte, d digest.Digest) []byte {
	if _, err := ParseDigest(string(d)); err != nil {
		panic("oci: encoding of an unchecked digest: " + err.Error())
	}
	algorithm := byte(wireSHA256)
	if d.Algorithm() == digest.SHA512 {
		algorithm = wireSHA512
	}
	b, err := hex.AppendDecode(append(b, algorithm), []byte(d.Encoded()))
	if err != nil {
		panic("oci: hex that was checked: " + err.Error())
	}
	return b
}

// DecodeDigest reads a digest in compact form from the start of b and returns what follows it.
//
// Errors: ErrDigestInvalid.
func DecodeDigest(b []byte) (d digest.Digest, rest []byte, err error) {
	if len(b) == 0 {
		return "", nil, fmt.Errorf("%w: no bytes", ErrDigestInvalid)
	}
	var alg digest.Algorithm
	switch b[0] {
	case wireSHA256:
		alg = digest.SHA256
	case wireSHA512:
		alg = digest.SHA512
	default:
		return "", nil, fmt.Errorf("%w: unknown algorithm byte %d", ErrDigestInvalid, b[0])
	}
	raw, size := b[1:], rawSize(alg)
	if len(raw) < size {
		return "", nil, fmt.Errorf("%w: %d of %d bytes of a %s", ErrDigestInvalid, len(raw), size, alg)
	}
	return digest.NewDigestFromBytes(alg, raw[:size]), raw[size:], nil
}

// clip shortens what a stranger sent to what fits into an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
