package disk

import (
	"errors"
	"io"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// reader is a stream of a copy with sums. No byte leaves it before the chunk that it is in was read and
// compared, and it leaves from the memory in which that was done. Sendfile would hand the kernel's pages on
// by reference: what changes between the check and the wire, or is read from the disk a second time, would
// go out unchecked in an answer that looks complete.
type reader struct {
	store *Store
	id    blobstore.CopyID
	file  File
	sums  []uint32
	size  int64

	at, end int64 // what is left of the stream
	buf     *[]byte
	cached  int64 // the chunk in buf; -1 is none
	failed  error // the first error: the stream is over
}

// Read returns bytes of a checked chunk.
func (r *reader) Read(p []byte) (int, error) {
	if r.failed == nil && r.at == r.end {
		return 0, io.EOF
	}
	chunk, err := r.checked()
	if err != nil {
		return 0, err
	}
	n := copy(p, chunk)
	r.at += int64(n)
	return n, nil
}

// WriteTo writes what is left of the stream, chunk by chunk.
func (r *reader) WriteTo(w io.Writer) (written int64, err error) {
	for r.at < r.end {
		chunk, err := r.checked()
		if err != nil {
			return written, err
		}
		n, err := writeAll(w, chunk)
		r.at += n
		written += n
		if err != nil {
			return written, r.fail(err)
		}
	}
	return written, r.failed
}

func writeAll(w io.Writer, p []byte) (int64, error) {
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return int64(n), err
}

// checked returns what the stream still has of the chunk that it is at. It stays valid until drop or the
// next call.
func (r *reader) checked() ([]byte, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	i := r.at / blobstore.ChunkSize
	from := i * blobstore.ChunkSize
	if r.cached != i {
		if r.buf == nil {
			r.buf = r.store.chunks.take()
		}
		r.cached = -1
		chunk := (*r.buf)[:min(blobstore.ChunkSize, r.size-from)]
		if n, err := r.file.ReadAt(chunk, from); n < len(chunk) {
			return nil, r.fail(r.store.damaged(r.id, i, err))
		}
		if sums.Of(chunk) != r.sums[i] {
			return nil, r.fail(r.store.damaged(r.id, i, errSum))
		}
		r.cached = i
	}
	return (*r.buf)[r.at-from : min(blobstore.ChunkSize, r.end-from)], nil
}

func (r *reader) fail(err error) error {
	if err != nil {
		r.failed = err
	}
	return err
}

// drop gives the buffer back.
func (r *reader) drop() {
	if r.buf != nil {
		r.store.chunks.put(r.buf)
		r.buf, r.cached = nil, -1
	}
}

// errStreamClosed is what a stream answers after Close.
var errStreamClosed = errors.New("stream is closed")

// Close gives the file back. Calling it again does nothing.
func (r *reader) Close() error {
	if errors.Is(r.failed, errStreamClosed) {
		return nil
	}
	r.failed = errStreamClosed
	r.drop()
	return r.file.Close()
}
