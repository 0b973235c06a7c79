package s3

import (
	"errors"
	"fmt"
	"io"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// What stores allow.
const (
	maxParts    = 10_000
	maxPartSize = 5 << 30
	// doubleEvery is how many parts have the same size: small uploads have small parts, and 10,000 suffice for 5 TiB.
	doubleEvery = 1_000
	// MinPartSize is a little more than the 5 MiB that all parts but the last must have: 10,000 parts that begin with
	// 5 MiB do not reach 5 TiB.
	MinPartSize = 5<<20 + blobstore.ChunkSize
)

// firstSize is the size of the first parts that comes closest to what is asked for: it is of whole chunks.
func firstSize(asked int64) int64 {
	return min(max(MinPartSize, asked/blobstore.ChunkSize*blobstore.ChunkSize), maxPartSize)
}

// partSize is how large a part is, counted from 0, unless it is the last.
func partSize(first int64, number int) int64 {
	return min(first<<(number/doubleEvery), maxPartSize)
}

// errScratch is a part that is not any more what was received.
var errScratch error = rot{}

type rot struct{}

// Error is for people.
func (rot) Error() string { return "bytes that wait to be sent are not what was received" }

// RetryableError keeps the library from sending them again.
func (rot) RetryableError() bool { return false }

// partReader reads the file of a part to send it. What has changed since it was received is not handed on.
type partReader struct {
	file disk.File
	sums []uint32
	size int64

	at     int64
	buf    *[]byte
	cached int64 // the chunk in buf; -1 is none
}

// Read returns bytes of a checked chunk.
func (r *partReader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	i := r.at / blobstore.ChunkSize
	from := i * blobstore.ChunkSize
	chunk := (*r.buf)[:min(blobstore.ChunkSize, r.size-from)]
	if r.cached != i {
		r.cached = -1
		if n, err := r.file.ReadAt(chunk, from); n < len(chunk) {
			return 0, errors.Join(errScratch, noEOF(err))
		}
		if sums.Of(chunk) != r.sums[i] {
			return 0, fmt.Errorf("%w: chunk %d", errScratch, i)
		}
		r.cached = i
	}
	n := copy(p, chunk[r.at-from:])
	r.at += int64(n)
	return n, nil
}

// Seek is that of io.Seeker: a part is read to be hashed, to be sent, and to be sent again.
func (r *partReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning of a part")
	}
	r.at = offset
	return offset, nil
}

// noEOF keeps an error from being taken for a regular end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
