package disk

import (
	"slices"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// InMemory returns how many uploads have their hash in memory.
func (s *Store) InMemory() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// EncodeMarker is the marker's file.
func EncodeMarker(i blobstore.Incarnation, name string) []byte { return marker{i, name}.encode() }

// DecodeMarker is its inverse.
func DecodeMarker(b []byte) (blobstore.Incarnation, string, error) {
	m, err := decodeMarker(b)
	return m.incarnation, m.name, err
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
	return u.size, int64(len(u.sums)) == sums.Chunks(u.size), slices.Equal(u.sums, counting(min(u.size, 1<<30))), err
}

func counting(size int64) []uint32 {
	all := make([]uint32, sums.Chunks(size))
	for i := range all {
		all[i] = uint32(i)
	}
	return all
}
