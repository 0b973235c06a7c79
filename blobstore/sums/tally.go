package sums

import (
	"hash"
	"hash/crc32"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// castagnoli is the table of CRC32C; the library makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Of is the sum of a chunk.
func Of(chunk []byte) uint32 { return crc32.Checksum(chunk, castagnoli()) }

// Chunks returns how many chunks size bytes have.
func Chunks(size int64) int64 {
	return (size + blobstore.ChunkSize - 1) / blobstore.ChunkSize
}

// Tally is what is known of the bytes of a stream so far: their number, digest, and the sum of each chunk.
type Tally struct {
	Algorithm digest.Algorithm
	Size      int64
	Sums      []uint32 // of all chunks; that of the last grows with it

	hash hash.Hash
}

// NewTally returns that of no bytes; "" stands for sha256. The error is blobstore.ErrDigestUnsupported for an
// unknown algorithm.
func NewTally(a digest.Algorithm) (*Tally, error) {
	if a == "" {
		a = digest.SHA256
	}
	h, err := blobstore.NewHash(a)
	if err != nil {
		return nil, err
	}
	return &Tally{Algorithm: a, hash: h}, nil
}

// Add takes more bytes.
func (t *Tally) Add(p []byte) {
	_, _ = t.hash.Write(p) // never fails, says package hash
	for len(p) > 0 {
		if t.Size%blobstore.ChunkSize == 0 {
			t.Sums = append(t.Sums, 0)
		}
		n := min(int64(len(p)), blobstore.ChunkSize-t.Size%blobstore.ChunkSize)
		last := &t.Sums[len(t.Sums)-1]
		*last = crc32.Update(*last, castagnoli(), p[:n])
		t.Size += n
		p = p[n:]
	}
}

// Digest is that of the bytes so far.
func (t *Tally) Digest() digest.Digest { return digest.NewDigest(t.Algorithm, t.hash) }
