package main

import (
	"context"
	"io"
	"iter"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
)

// lateStore is a store on a disk that was not there when the node started. It is offline until the directory has its
// marker: then it is opened, and is as any other.
type lateStore struct {
	config disk.Config

	mu     sync.Mutex
	opened *disk.Store // nil: it is not there yet
	closed bool
}

// open returns the store. It fails with blobstore.ErrOffline, blobstore.ErrClosed, or as disk.Open.
func (l *lateStore) open() (*disk.Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock() // what it costs to open it is a look at one file
	if l.closed {
		return nil, blobstore.ErrClosed
	}
	if l.opened == nil {
		s, err := disk.Open(l.config)
		if err != nil {
			return nil, err
		}
		l.opened = s
	}
	return l.opened, nil
}

// CreateUpload is the store's.
func (l *lateStore) CreateUpload(ctx context.Context, id blobstore.UploadID, hint digest.Algorithm, at blobstore.Time) error {
	s, err := l.open()
	if err != nil {
		return err
	}
	return s.CreateUpload(ctx, id, hint, at)
}

// Upload is the store's.
func (l *lateStore) Upload(ctx context.Context, id blobstore.UploadID) (blobstore.Upload, error) {
	s, err := l.open()
	if err != nil {
		return blobstore.Upload{}, err
	}
	return s.Upload(ctx, id)
}

// OpenUpload is the store's.
func (l *lateStore) OpenUpload(ctx context.Context, id blobstore.UploadID) (blobstore.UploadReader, error) {
	s, err := l.open()
	if err != nil {
		return nil, err
	}
	return s.OpenUpload(ctx, id)
}

// Append is the store's.
func (l *lateStore) Append(ctx context.Context, id blobstore.UploadID, offset int64, r io.Reader, at blobstore.Time) (int64, error) {
	s, err := l.open()
	if err != nil {
		return 0, err
	}
	return s.Append(ctx, id, offset, r, at)
}

// Finish is the store's.
func (l *lateStore) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	s, err := l.open()
	if err != nil {
		return 0, err
	}
	return s.Finish(ctx, id, d)
}

// Publish is the store's.
func (l *lateStore) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	s, err := l.open()
	if err != nil {
		return nil, err
	}
	return s.Publish(ctx, id)
}

// EndUpload is the store's.
func (l *lateStore) EndUpload(ctx context.Context, id blobstore.UploadID, at blobstore.Time) error {
	s, err := l.open()
	if err != nil {
		return err
	}
	return s.EndUpload(ctx, id, at)
}

// RemoveUpload is the store's.
func (l *lateStore) RemoveUpload(ctx context.Context, id blobstore.UploadID) error {
	s, err := l.open()
	if err != nil {
		return err
	}
	return s.RemoveUpload(ctx, id)
}

// Uploads is the store's.
func (l *lateStore) Uploads(ctx context.Context, after blobstore.UploadID) iter.Seq2[blobstore.Upload, error] {
	s, err := l.open()
	if err != nil {
		return func(yield func(blobstore.Upload, error) bool) { yield(blobstore.Upload{}, err) }
	}
	return s.Uploads(ctx, after)
}

// Open is the store's.
func (l *lateStore) Open(ctx context.Context, b blobstore.Blob, offset, length int64) (blobstore.Reader, error) {
	s, err := l.open()
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, b, offset, length)
}

// Copies is the store's.
func (l *lateStore) Copies(ctx context.Context, after blobstore.CopyID) iter.Seq2[blobstore.CopyID, error] {
	s, err := l.open()
	if err != nil {
		return func(yield func(blobstore.CopyID, error) bool) { yield(blobstore.CopyID{}, err) }
	}
	return s.Copies(ctx, after)
}

// RemoveCopies is the store's.
func (l *lateStore) RemoveCopies(ctx context.Context, ids ...blobstore.CopyID) error {
	s, err := l.open()
	if err != nil {
		return err
	}
	return s.RemoveCopies(ctx, ids...)
}

// Verify is the store's.
func (l *lateStore) Verify(ctx context.Context, b blobstore.Blob, pace blobstore.Pace) error {
	s, err := l.open()
	if err != nil {
		return err
	}
	return s.Verify(ctx, b, pace)
}

// Stat is the store's.
func (l *lateStore) Stat(ctx context.Context, id blobstore.CopyID) (blobstore.CopyInfo, error) {
	s, err := l.open()
	if err != nil {
		return blobstore.CopyInfo{}, err
	}
	return s.Stat(ctx, id)
}

// Incarnation is this node's.
func (l *lateStore) Incarnation() blobstore.Incarnation { return l.config.Incarnation }

// Check is the store's.
func (l *lateStore) Check(ctx context.Context) error {
	s, err := l.open()
	if err != nil {
		return err
	}
	return s.Check(ctx)
}

// Usage is the store's.
func (l *lateStore) Usage(ctx context.Context) (blobstore.Usage, error) {
	s, err := l.open()
	if err != nil {
		return blobstore.Usage{}, err
	}
	return s.Usage(ctx)
}

// Close closes the store, if it has come to be there.
func (l *lateStore) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.opened == nil {
		return nil
	}
	return l.opened.Close()
}
