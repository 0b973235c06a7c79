package disk

import (
	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// source is where the stream of a copy with sums has its chunks from. Each is read into memory and compared there, and
// leaves from there. Sendfile would hand the kernel's pages on by reference: what changes between the check and the
// wire, or is read from the disk a second time, would go out unchecked in an answer that looks complete.
type source struct {
	store *Store
	id    blobstore.CopyID
	file  File
	sums  []uint32
}

// Check reads a chunk and compares it.
func (s *source) Check(i int64, chunk []byte) error {
	if n, err := s.file.ReadAt(chunk, i*blobstore.ChunkSize); n < len(chunk) {
		return s.store.damaged(s.id, i, err)
	}
	if sums.Of(chunk) != s.sums[i] {
		return s.store.damaged(s.id, i, errSum)
	}
	return nil
}

// Close gives the file back.
func (s *source) Close() error { return s.file.Close() }
