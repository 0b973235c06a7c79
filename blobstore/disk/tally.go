package disk

import (
	"hash"
	"hash/crc32"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// castagnoli is the table of CRC32C; the library makes it once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// tally is what is known of the bytes of a stream so far: their number, digest, and the sum of each chunk.
type tally struct {
	algorithm digest.Algorithm
	hash      hash.Hash
	size      int64
	sums      []uint32 // of all chunks; that of the last grows with it
}

// newTally returns an error that is blobstore.ErrDigestUnsupported for an unknown algorithm.
func newTally(a digest.Algorithm) (*tally, error) {
	if a == "" {
		a = digest.SHA256
	}
	h, err := blobstore.NewHash(a)
	if err != nil {
		return nil, err
	}
	return &tally{algorithm: a, hash: h}, nil
}

// add takes more bytes.
func (t *tally) add(p []byte) {
	_, _ = t.hash.Write(p) // never fails, says package hash
	for len(p) > 0 {
		if t.size%blobstore.ChunkSize == 0 {
			t.sums = append(t.sums, 0)
		}
		n := min(int64(len(p)), blobstore.ChunkSize-t.size%blobstore.ChunkSize)
		last := &t.sums[len(t.sums)-1]
		*last = crc32.Update(*last, castagnoli(), p[:n])
		t.size += n
		p = p[n:]
	}
}

func (t *tally) digest() digest.Digest { return digest.NewDigest(t.algorithm, t.hash) }

// sumOf is the sum of a chunk.
func sumOf(chunk []byte) uint32 { return crc32.Checksum(chunk, castagnoli()) }

// chunksOf returns how many chunks size bytes have.
func chunksOf(size int64) int64 {
	return (size + blobstore.ChunkSize - 1) / blobstore.ChunkSize
}
