package replicated

import (
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

var errDigest = errors.New("bytes do not match the digest")

// whole is a stream of a whole blob from other nodes. It is hashed as it flows, and its last chunk is held back
// until the digest is right: bytes that are wrong, whoever made them so, never look like a blob that came to
// its end.
type whole struct {
	*stream
	hash hash.Hash
	tail int64   // where the last chunk begins
	buf  *[]byte // of it; nil until it is there, and when it was handed on
	rest []byte  // what of it was not handed on
}

func newWhole(r *stream) (*whole, error) {
	h, err := blobstore.NewHash(r.blob.Digest.Algorithm())
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	tail := (r.end - 1) / blobstore.ChunkSize * blobstore.ChunkSize
	return &whole{stream: r, hash: h, tail: tail}, nil
}

// Read reads.
func (w *whole) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.at < w.tail {
		n, err := w.stream.Read(p[:min(int64(len(p)), w.tail-w.at)])
		_, _ = w.hash.Write(p[:n]) // never fails, says package hash
		return n, err
	}
	if err := w.verify(); err != nil {
		return 0, err
	}
	if len(w.rest) == 0 {
		w.drop()
		return 0, io.EOF
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// verify reads the last chunk, and returns an error unless the whole has the right digest. A blob of a single
// chunk, of which nothing was handed on yet, is read from the next source then.
func (w *whole) verify() error {
	for w.at < w.end {
		if w.buf == nil {
			w.buf = w.store.takeChunk()
		}
		p := (*w.buf)[:w.end-w.tail]
		if _, err := io.ReadFull(w.stream, p[w.at-w.tail:]); err != nil {
			return w.over(noEOF(err))
		}
		_, _ = w.hash.Write(p) // never fails, says package hash
		if digest.NewDigest(w.blob.Digest.Algorithm(), w.hash) == w.blob.Digest {
			w.rest = p
			return nil
		}
		wrong := &blobstore.DamageError{Copy: w.current.at.Copy, Chunk: blobstore.WholeCopy, Cause: errDigest}
		if w.tail > 0 {
			return w.over(fmt.Errorf("read copies of other nodes: %w", wrong))
		}
		if w.from == nil {
			w.blame(w.current, wrong)
		} else {
			w.lose(wrong)
		}
		w.hash.Reset()
		w.at = 0
	}
	return w.failed
}

// noEOF keeps an error from being taken for a regular end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// WriteTo writes the rest of the stream.
func (w *whole) WriteTo(to io.Writer) (written int64, err error) {
	buf := w.store.takeChunk()
	defer w.store.chunks.Put(buf)
	for {
		n, err := w.Read(*buf)
		if n > 0 {
			m, err := (&destination{Writer: to}).Write((*buf)[:n])
			written += int64(m)
			if err != nil {
				return written, err
			}
		}
		if err == io.EOF { //nolint:errorlint // a wrapped one is no regular end
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}

func (w *whole) drop() {
	if w.buf != nil {
		w.store.chunks.Put(w.buf)
		w.buf = nil
	}
}

// Close gives the source back.
func (w *whole) Close() error {
	w.rest = nil
	w.drop()
	return w.stream.Close()
}
