package memory

import (
	"context"
	"fmt"
	"io"

	"github.com/seed-16d79997/zot/blobstore"
)

// OpenUpload opens the bytes of an unfinished upload. The caller closes it.
//
// It returns blobstore.ErrUploadUnknown, blobstore.ErrUploadEnded or blobstore.ErrClosed.
func (s *Store) OpenUpload(ctx context.Context, id blobstore.UploadID) (blobstore.UploadReader, error) {
	defer s.lock()()
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	u := s.uploads[id]
	switch {
	case u == nil:
		return nil, fmt.Errorf("open upload: %w", blobstore.ErrUploadUnknown)
	case u.ended:
		return nil, fmt.Errorf("open upload: %w", blobstore.ErrUploadEnded)
	}
	return uploadReader{s, u}, nil
}

// uploadReader reads an upload that may grow.
type uploadReader struct {
	store  *Store
	upload *upload
}

// ReadAt reads what is there at the moment.
func (r uploadReader) ReadAt(p []byte, offset int64) (int, error) {
	defer r.store.lock()()
	if offset < 0 || offset >= int64(len(r.upload.b)) {
		return 0, io.EOF
	}
	n := copy(p, r.upload.b[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close does nothing.
func (uploadReader) Close() error { return nil }
