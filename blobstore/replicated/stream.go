package replicated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-16d79997/zot/blobstore"
)

// stream is a stream of a blob that has several holders. When its source breaks off, falls silent or is
// damaged, it goes on at the same offset from the next, and whoever reads it does not notice. A source that
// failed may serve again once others have brought the stream further, so a long one survives any number of
// short failures.
type stream struct {
	store   *Store
	blob    blobstore.Blob
	at, end int64
	sources []*source

	current *source
	from    io.ReadCloser // what current gives; nil between two sources
	failed  error         // the stream is over

	// connect begins to read from a source at an offset. It has the context of the Open.
	connect func(src *source, at int64, patient bool) (io.ReadCloser, error)
	ended   func() error // of that context
	request string       // the id that the context has
}

// openStream opens a stream of a piece of a blob at the first source that has the bytes. A negative length
// stands for the rest.
func (s *Store) openStream(ctx context.Context, piece part, sources []*source) (*stream, error) {
	b := piece.blob
	if err := blobstore.CheckDigest(b.Digest); err != nil {
		return nil, err
	}
	end, err := b.End(piece.offset, piece.length)
	if err != nil {
		return nil, err
	}
	r := &stream{store: s, blob: b, at: piece.offset, end: end, sources: sources, ended: ctx.Err, request: blobstore.RequestID(ctx)}
	r.connect = func(src *source, at int64, patient bool) (io.ReadCloser, error) {
		if src.own {
			return s.Local.Open(ctx, b, at, end-at)
		}
		return s.openAt(ctx, src.at, part{b, at, end - at, piece.repair}, patient)
	}
	if err := r.next(); err != nil {
		return nil, err
	}
	return r, nil
}

// fromElsewhere reports whether another node sends the bytes.
func (r *stream) fromElsewhere() bool { return r.current != nil && !r.current.own }

// next goes on at the next source. Its error ends the stream.
func (r *stream) next() error {
	for {
		if err := r.ended(); err != nil {
			return r.over(err)
		}
		src, patient := r.choose()
		if src == nil {
			return r.over(outcome(r.sources))
		}
		from, err := r.connect(src, r.at, patient)
		if err == nil {
			r.current, r.from = src, from
			return nil
		}
		if ended := r.ended(); ended != nil {
			return r.over(ended)
		}
		r.blame(src, err)
	}
}

// choose returns the source to read from now, and whether to be patient with it, because there is no other that
// has not failed here.
func (r *stream) choose() (best *source, patient bool) {
	left := 0
	for _, src := range r.sources {
		if !src.eligible(r.at) {
			continue
		}
		left++
		if best == nil || src.failedHere(r.at) < best.failedHere(r.at) ||
			src.failedHere(r.at) == best.failedHere(r.at) && src.failedAt < best.failedAt {
			best = src
		}
	}
	return best, best != nil && (left == 1 || best.failedHere(r.at) > 0)
}

func (r *stream) blame(src *source, err error) {
	src.fail(r.at, err)
	if isUnreachable(err) {
		r.store.health.fails(src.at.Incarnation)
	}
	r.store.log.Debug("source of a blob failed", "digest", r.blob.Digest.String(), "node", src.at.Incarnation.String(), "offset", r.at, "error", err, "request_id", r.request)
}

// lose gives the current source up. It is not to blame if nobody waits for the stream any more.
func (r *stream) lose(err error) {
	_ = r.from.Close() // it failed already
	r.from = nil
	if ended := r.ended(); ended != nil {
		_ = r.over(ended)
		return
	}
	r.blame(r.current, err)
}

func (r *stream) over(err error) error {
	r.failed = err
	return err
}

// Read reads checked bytes of whichever source has them.
func (r *stream) Read(p []byte) (int, error) {
	for {
		switch {
		case r.failed != nil:
			return 0, r.failed
		case r.at == r.end:
			return 0, io.EOF
		case r.from == nil:
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.from.Read(p[:min(int64(len(p)), r.end-r.at)])
		r.at += int64(n)
		if n > 0 || len(p) == 0 {
			return n, nil // an error comes again
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			r.lose(err)
		}
	}
}

// WriteTo writes the rest of the stream: what this node has by the local store's own WriteTo, a chunk at a
// time, and what comes from elsewhere as it comes.
func (r *stream) WriteTo(w io.Writer) (written int64, err error) {
	to := &destination{Writer: w}
	for r.at < r.end && r.failed == nil {
		if r.from == nil {
			if r.next() != nil {
				break
			}
		}
		n, err := r.hand(to)
		written += n
		if to.err != nil {
			return written, to.err
		}
		if err != nil {
			r.lose(err)
		}
	}
	return written, r.failed
}

// hand writes what the current source gives until it ends or fails. An error that is not the destination's is
// the source's.
func (r *stream) hand(to *destination) (n int64, err error) {
	if local, ok := r.from.(blobstore.Reader); ok && r.current.own {
		n, err = local.WriteTo(to)
		r.at += n
	} else {
		n, err = r.copy(to)
	}
	if err == nil && r.at < r.end {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// copy writes what a source elsewhere gives.
func (r *stream) copy(to io.Writer) (written int64, err error) {
	buf := r.store.takeChunk()
	defer r.store.chunks.Put(buf)
	for r.at < r.end {
		n, err := r.from.Read((*buf)[:min(blobstore.ChunkSize, r.end-r.at)])
		m, werr := to.Write((*buf)[:n])
		r.at += int64(m)
		written += int64(m)
		if werr != nil {
			return written, werr
		}
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Close gives the source back. Calling it again does nothing.
func (r *stream) Close() error {
	if r.failed == nil {
		r.failed = errStreamClosed
	}
	if r.from == nil {
		return nil
	}
	from := r.from
	r.from = nil
	return from.Close()
}

var errStreamClosed = errors.New("stream is closed")

// destination remembers whether the error that ended a copy was its own.
type destination struct {
	io.Writer
	err error
}

// Write writes.
func (d *destination) Write(p []byte) (int, error) {
	n, err := d.Writer.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	d.err = err
	return n, err
}

// openAt begins to read a piece of another node's copy. A node that does not begin in time, or stops, is left
// sooner if there is another to try.
func (s *Store) openAt(ctx context.Context, at blobstore.Location, piece part, patient bool) (io.ReadCloser, error) {
	first, silence := s.timing.FirstByte, s.timing.Silence
	if patient {
		first, silence = s.timing.Patience, s.timing.Patience
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(first, func() { cancel(errSilent) })
	r, err := s.peers.open(ctx, at, piece) //nolint:bodyclose // remote closes it
	watch.Stop()
	if err != nil {
		cancel(nil)
		return nil, because(ctx, err)
	}
	return &remote{answer: r, left: piece.length, silence: silence, watch: watch, cancel: cancel, why: func(err error) error { return because(ctx, err) }}, nil
}

// because says of an error that it came of the silence of a node.
func because(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return &unreachableError{errSilent}
	}
	return err
}

// remote is a piece of another node's copy.
type remote struct {
	answer  *http.Response
	left    int64
	silence time.Duration
	watch   *time.Timer
	cancel  context.CancelCauseFunc
	why     func(error) error
}

// Read reads. What ends too early ends with the error that the node gives for it, or as unreachable.
func (r *remote) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	r.watch.Reset(r.silence)
	n, err := r.answer.Body.Read(p[:min(int64(len(p)), r.left)])
	r.watch.Stop()
	r.left -= int64(n)
	switch {
	case err == nil || r.left == 0:
		return n, nil
	case err != io.EOF:
		return n, r.why(&unreachableError{fmt.Errorf("stream breaks off: %w", err)})
	}
	if said := r.answer.Trailer.Get(errorTrailer); said != "" {
		return n, decodeFailure(said)
	}
	return n, io.ErrUnexpectedEOF
}

// Close ends the request.
func (r *remote) Close() error {
	r.watch.Stop()
	r.cancel(nil)
	return r.answer.Body.Close()
}
