package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// reader is a stream of a copy with sums. No byte leaves it before the chunk that it is in was compared. Where the
// answer of the bucket breaks off, or a chunk is not right, another one is asked for from that chunk on, so that
// the client does not see it.
type reader struct {
	store *Store
	ctx   context.Context //nolint:containedctx // Open's, which bounds the whole stream
	kept  sums.Copy

	at, end int64 // what is left of the stream
	body    io.ReadCloser
	next    int64 // the chunk that body is at
	buf     *[]byte
	cached  int64 // the chunk in buf; -1 is none
	failed  error // the first error: the stream is over
}

// newReader makes a stream of some bytes of a copy. The caller closes it.
func (s *Store) newReader(ctx context.Context, kept sums.Copy, from, to int64) *reader {
	return &reader{store: s, ctx: ctx, kept: kept, at: from, end: to, cached: -1}
}

// begin asks for the first bytes, and returns errNoObject if the copy is not there. From then on it may be removed.
func (r *reader) begin() error {
	if r.at < r.end {
		return r.ask(r.at / blobstore.ChunkSize)
	}
	size, _, err := r.store.bucket.head(r.ctx, r.store.keys.copy(r.kept.Copy))
	if err != nil {
		return err
	}
	return r.checkSize(size)
}

// ask asks for all chunks that the stream needs, from one on.
func (r *reader) ask(chunk int64) error {
	if r.body != nil {
		_ = r.body.Close() // it is of no use any more, however it ended
		r.body = nil
	}
	last := min(sums.Chunks(r.end)*blobstore.ChunkSize, r.kept.Size) - 1
	o, err := r.store.bucket.get(r.ctx, r.store.keys.copy(r.kept.Copy), span{chunk * blobstore.ChunkSize, last})
	if err != nil {
		return err
	}
	if err := r.checkSize(o.size); err != nil {
		return errors.Join(err, o.body.Close())
	}
	r.body, r.next = o.body, chunk
	return nil
}

// checkSize returns a *blobstore.DamageError for another size; one that nobody said is none.
func (r *reader) checkSize(size int64) error {
	if size >= 0 && size != r.kept.Size {
		return r.store.damaged(r.kept.Copy, blobstore.WholeCopy, fmt.Errorf("%w: %d bytes, not %d", errSize, size, r.kept.Size))
	}
	return nil
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
		n, err := w.Write(chunk)
		if err == nil && n < len(chunk) {
			err = io.ErrShortWrite
		}
		r.at += int64(n)
		written += int64(n)
		if err != nil {
			r.failed = err
			return written, err
		}
	}
	return written, r.failed
}

// checked returns what the stream still has of the chunk that it is at. It stays valid until the next call.
func (r *reader) checked() ([]byte, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	i := r.at / blobstore.ChunkSize
	from := i * blobstore.ChunkSize
	if r.cached != i {
		if r.buf == nil {
			r.buf = r.store.chunks.Get().(*[]byte)
		}
		r.cached = -1
		chunk := (*r.buf)[:min(blobstore.ChunkSize, r.kept.Size-from)]
		if err := r.load(i, chunk); err != nil {
			r.failed = err
			return nil, err
		}
		r.cached = i
	}
	return (*r.buf)[r.at-from : min(blobstore.ChunkSize, r.end-from)], nil
}

// load reads a chunk and checks it; another time, from the bucket again, before it is taken for damaged: bits flip on
// the way too.
func (r *reader) load(i int64, chunk []byte) error {
	for range 2 {
		if err := r.store.bucket.patiently(r.ctx, func() error { return r.read(i, chunk) }); err != nil {
			return err
		}
		if sums.Of(chunk) == r.kept.Sums[i] {
			return nil
		}
		r.next = -1 // ask anew
	}
	return r.store.damaged(r.kept.Copy, i, errSum)
}

// read reads a chunk from the answer of the bucket, or from another one if that broke off.
func (r *reader) read(i int64, chunk []byte) error {
	if r.body == nil || r.next != i {
		if err := r.ask(i); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(r.body, chunk); err != nil {
		r.next = -1
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		return fmt.Errorf("%w: %w", errBroken, noEOF(err))
	}
	r.next = i + 1
	return nil
}

// errStreamClosed is what a stream answers after Close.
var errStreamClosed = errors.New("stream is closed")

// Close gives the connection back. Calling it again does nothing.
func (r *reader) Close() error {
	if errors.Is(r.failed, errStreamClosed) {
		return nil
	}
	r.failed = errStreamClosed
	if r.buf != nil {
		r.store.chunks.Put(r.buf)
		r.buf, r.cached = nil, -1
	}
	if r.body != nil {
		_ = r.body.Close() // all that was handed on has been checked
		r.body = nil
	}
	return nil
}
