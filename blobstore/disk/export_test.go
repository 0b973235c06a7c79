package disk

import (
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// InMemory returns how many uploads have their hash in memory.
func (s *Store) InMemory() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// EncodeMarker and DecodeMarker are the marker's file.
func EncodeMarker(i blobstore.Incarnation) []byte { return encodeMarker(i) }

func DecodeMarker(b []byte) (blobstore.Incarnation, error) { return decodeMarker(b) }

// SampleSums is the file beside a copy of size bytes whose chunks have sums that count up.
func SampleSums(id blobstore.CopyID, d digest.Digest, size int64) []byte {
	b, err := copySums{id, d, size, counting(size)}.encode()
	if err != nil {
		panic(err)
	}
	return b
}

// RecodeSums reads the file beside a copy and writes it again.
func RecodeSums(b []byte) ([]byte, error) {
	c, err := decodeSums(b)
	if err != nil {
		return nil, err
	}
	return c.encode()
}

// SampleState is the file of an upload that grew to each of the sizes in turn.
func SampleState(id blobstore.UploadID, sizes ...int64) []byte {
	var b []byte
	known := 0
	for _, size := range sizes {
		b = append(b, uploadState{id: id, algorithm: "sha256", active: 7, size: size, sums: counting(size)}.encode(known)...)
		known = int(size / blobstore.ChunkSize)
	}
	return b
}

// DecodeState reads the file of an upload, and says whether its sums fit its size and count up.
func DecodeState(b []byte) (size int64, fit, counts bool, err error) {
	u, err := decodeState(b)
	return u.size, int64(len(u.sums)) == chunksOf(u.size), slices.Equal(u.sums, counting(min(u.size, 1<<30))), err
}

func counting(size int64) []uint32 {
	sums := make([]uint32, chunksOf(size))
	for i := range sums {
		sums[i] = uint32(i)
	}
	return sums
}
