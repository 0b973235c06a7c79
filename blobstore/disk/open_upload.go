package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/seed-16d79997/zot/blobstore"
)

// OpenUpload opens the bytes of an unfinished upload, for those who follow it. The caller closes it.
//
// It returns blobstore.ErrUploadUnknown, blobstore.ErrUploadEnded, blobstore.ErrOffline or
// blobstore.ErrClosed.
func (s *Store) OpenUpload(ctx context.Context, id blobstore.UploadID) (blobstore.UploadReader, error) {
	if _, err := s.Upload(ctx, id); err != nil {
		return nil, fmt.Errorf("open upload: %w", err)
	}
	r := &uploadReader{store: s, name: uploadName(id)}
	if err := r.open(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.fault("open upload", err)
	}
	return r, nil
}

// uploadReader reads the file of an upload by a handle of its own, so that it neither waits for the writer
// nor is in its way, and outlives the file's name.
type uploadReader struct {
	store *Store
	name  string

	mu   sync.Mutex
	file File // nil while there is no byte: the file is made for the first
}

func (r *uploadReader) open() (err error) {
	r.file, err = r.store.files.OpenFile(r.name, os.O_RDONLY)
	if err != nil {
		r.file = nil
	}
	return err
}

// ReadAt reads what is there at the moment.
func (r *uploadReader) ReadAt(p []byte, offset int64) (int, error) {
	file, err := r.opened()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, io.EOF
	}
	if err != nil {
		return 0, r.store.fault("read upload", err)
	}
	return file.ReadAt(p, offset)
}

func (r *uploadReader) opened() (File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		return r.file, nil
	}
	err := r.open()
	return r.file, err
}

// Close gives the file back.
func (r *uploadReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
