// Package sums has what the stores of blobs keep to check bytes by: the CRC32C of each chunk of a copy, and the
// record that holds them. It knows no files and no network: a Stream gets its chunks from the store that makes it.
//
// Invariant 11 rests on it: a store that serves a part of a copy cannot check the digest of the whole, and
// compares each chunk with its sum instead. The sums are made from the bytes whose digest is verified. Start
// reading at Tally and Copy, for the way in, and at Stream, for the way out; record.go is the form in which records are kept.
package sums

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// Copy is what lies beside a copy of more than one chunk. It names the copy, its digest and its size, so that
// sums of other bytes are never taken for its own, and bytes can be verified where nothing else is known of
// them.
type Copy struct {
	Copy   blobstore.CopyID
	Digest digest.Digest
	Size   int64
	Sums   []uint32
}

// magic is the first bytes of the record; the digit is its version.
const magic = "blobsum1"

// Limit is how long the record of a copy of size bytes is at most.
func Limit(size int64) int64 { return 256 + 4*Chunks(size) }

// Encode returns the record, or an error for a digest that is none.
func (c Copy) Encode() ([]byte, error) {
	raw, err := hex.DecodeString(c.Digest.Encoded())
	if err != nil {
		return nil, err
	}
	b := append([]byte(magic), c.Copy[:]...)
	b = append(b, AlgorithmByte(c.Digest.Algorithm()))
	b = append(b, raw...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Size)) //nolint:gosec // a size is not negative
	return Seal(Append(b, c.Sums)), nil
}

// Decode returns ErrRecord for all that Encode does not make.
func Decode(b []byte) (c Copy, err error) {
	in, err := Unseal(b, magic)
	if err != nil {
		return c, err
	}
	copy(c.Copy[:], in.Take(len(c.Copy)))
	algorithm, size := AlgorithmOf(in.Byte())
	c.Digest = digest.NewDigestFromBytes(algorithm, in.Take(size))
	c.Size = in.Int64()
	c.Sums = in.Sums(Chunks(c.Size))
	if algorithm == "" || c.Size <= blobstore.ChunkSize {
		in.Bad = true
	}
	return c, in.Err()
}
