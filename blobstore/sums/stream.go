package sums

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/seed-16d79997/zot/blobstore"
)

// Source is where a Stream has the chunks of a copy from.
type Source interface {
	// Check fills p with a chunk, and returns nil if its sum is right.
	Check(chunk int64, p []byte) error
	// Close is called once, when nothing more is asked for.
	Close() error
}

// Stream is some bytes of a copy. No byte leaves it before the chunk that it is in was checked (invariant 11), and it
// leaves from the memory in which that was done.
type Stream struct {
	source  Source
	buffers *sync.Pool
	size    int64

	at, end int64 // what is left of the stream
	buf     *[]byte
	cached  int64 // the chunk in buf; -1 is none
	failed  error // the first error: the stream is over
}

var _ blobstore.Reader = (*Stream)(nil)

// errStreamClosed is what a stream answers after Close.
var errStreamClosed = errors.New("stream is closed")

// NewStream makes a stream of the bytes from one offset to another of a copy of size bytes. The buffers are of
// *[]byte, each a chunk long; one is borrowed at a time. The caller closes the stream, and with it the source.
func NewStream(source Source, buffers *sync.Pool, size, from, to int64) *Stream {
	return &Stream{source: source, buffers: buffers, size: size, at: from, end: to, cached: -1}
}

// Read returns bytes of a checked chunk.
func (s *Stream) Read(p []byte) (int, error) {
	if s.failed == nil && s.at == s.end {
		return 0, io.EOF
	}
	chunk, err := s.checked()
	if err != nil {
		return 0, err
	}
	n := copy(p, chunk)
	s.at += int64(n)
	return n, nil
}

// WriteTo writes what is left of the stream, chunk by chunk.
func (s *Stream) WriteTo(w io.Writer) (written int64, err error) {
	for s.at < s.end {
		chunk, err := s.checked()
		if err != nil {
			return written, err
		}
		n, err := w.Write(chunk)
		if err == nil && n < len(chunk) {
			err = io.ErrShortWrite
		}
		s.at += int64(n)
		written += int64(n)
		if err != nil {
			s.failed = err
			return written, err
		}
	}
	return written, s.failed
}

// checked returns what the stream still has of the chunk that it is at. It stays valid until the next call.
func (s *Stream) checked() ([]byte, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	i := s.at / blobstore.ChunkSize
	from := i * blobstore.ChunkSize
	if s.cached != i {
		if s.buf == nil {
			s.buf = s.buffers.Get().(*[]byte)
		}
		s.cached = -1
		if err := s.source.Check(i, (*s.buf)[:min(blobstore.ChunkSize, s.size-from)]); err != nil {
			s.failed = err
			return nil, err
		}
		s.cached = i
	}
	return (*s.buf)[s.at-from : min(blobstore.ChunkSize, s.end-from)], nil
}

// Close closes the source. Calling it again does nothing.
func (s *Stream) Close() error {
	if errors.Is(s.failed, errStreamClosed) {
		return nil
	}
	s.failed = errStreamClosed
	if s.buf != nil {
		s.buffers.Put(s.buf)
		s.buf, s.cached = nil, -1
	}
	return s.source.Close()
}

// Whole is a Stream of bytes that are in memory, all of which were checked.
func Whole(p []byte) blobstore.Reader { return whole{bytes.NewReader(p)} }

type whole struct{ *bytes.Reader }

// Close does nothing.
func (whole) Close() error { return nil }
