package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// source is where the stream of a copy with sums has its chunks from. Where the answer of the bucket breaks off, or a
// chunk is not right, another one is asked for from that chunk on, so that the client does not see it.
type source struct {
	store *Store
	ctx   context.Context //nolint:containedctx // Open's, which bounds the whole stream
	kept  sums.Copy

	from, to int64 // what the stream is of
	body     io.ReadCloser
	next     int64 // the chunk that body is at
}

// newSource is for some bytes of a copy. The caller closes it, or its stream.
func (s *Store) newSource(ctx context.Context, kept sums.Copy, from, to int64) *source {
	return &source{store: s, ctx: ctx, kept: kept, from: from, to: to}
}

// stream is of all that the source is for.
func (r *source) stream() *sums.Stream {
	return sums.NewStream(r, &r.store.chunks, r.kept.Size, r.from, r.to)
}

// begin asks for the first bytes, and returns errNoObject if the copy is not there. From then on it may be removed.
func (r *source) begin() error {
	if r.from < r.to {
		return r.ask(r.from / blobstore.ChunkSize)
	}
	size, _, err := r.store.bucket.head(r.ctx, r.store.keys.copy(r.kept.Copy))
	if err != nil {
		return err
	}
	return r.checkSize(size)
}

// ask asks for all chunks that the stream needs, from one on.
func (r *source) ask(chunk int64) error {
	if r.body != nil {
		_ = r.body.Close() // it is of no use any more, however it ended
		r.body = nil
	}
	last := min(sums.Chunks(r.to)*blobstore.ChunkSize, r.kept.Size) - 1
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
func (r *source) checkSize(size int64) error {
	if size >= 0 && size != r.kept.Size {
		return r.store.damaged(r.kept.Copy, blobstore.WholeCopy, fmt.Errorf("%w: %d bytes, not %d", errSize, size, r.kept.Size))
	}
	return nil
}

// Check reads a chunk and compares it; another time, from the bucket again, before it is taken for damaged: bits flip on
// the way too.
func (r *source) Check(i int64, chunk []byte) error {
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
func (r *source) read(i int64, chunk []byte) error {
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

// Close gives the connection back.
func (r *source) Close() error {
	if r.body != nil {
		_ = r.body.Close() // all that was handed on has been checked
		r.body = nil
	}
	return nil
}
