package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// upload is guarded by the store's mutex.
type upload struct {
	b        []byte
	active   blobstore.Time
	busy     bool
	sealed   bool // a Finish succeeded
	finished bool // and was not used up
	ended    bool
}

// CreateUpload is as the contract says. The hint is of no use here.
func (s *Store) CreateUpload(ctx context.Context, id blobstore.UploadID, hint digest.Algorithm, at blobstore.Time) error {
	if _, err := blobstore.NewHash(hint); err != nil {
		return fmt.Errorf("create upload: %w", err)
	}
	defer s.lock()()
	if err := s.ready(ctx); err != nil {
		return err
	}
	if u := s.uploads[id]; u != nil {
		if u.ended {
			return fmt.Errorf("create upload: %w", blobstore.ErrUploadEnded)
		}
		return fmt.Errorf("create upload: %w", blobstore.ErrUploadExists)
	}
	s.uploads[id] = &upload{active: at}
	return nil
}

// Upload is as the contract says.
func (s *Store) Upload(ctx context.Context, id blobstore.UploadID) (blobstore.Upload, error) {
	defer s.lock()()
	if err := s.ready(ctx); err != nil {
		return blobstore.Upload{}, err
	}
	u := s.uploads[id]
	if u == nil {
		return blobstore.Upload{}, blobstore.ErrUploadUnknown
	}
	if u.ended {
		return u.describe(id), blobstore.ErrUploadEnded
	}
	return u.describe(id), nil
}

func (u *upload) describe(id blobstore.UploadID) blobstore.Upload {
	return blobstore.Upload{
		ID: id, Offset: int64(len(u.b)), Active: u.active, Writing: u.busy, Finished: u.sealed, Ended: u.ended,
	}
}

// Append is as the contract says.
func (s *Store) Append(ctx context.Context, id blobstore.UploadID, offset int64, r io.Reader, at blobstore.Time) (int64, error) {
	u, err := s.hold(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("append to upload: %w", err)
	}
	defer s.release(u)
	end, err := s.begin(u, offset, at)
	buf := make([]byte, 32<<10)
	for err == nil {
		n, rerr := r.Read(buf)
		end, err = s.write(ctx, id, u, buf[:n])
		if err == nil && rerr != nil {
			err = rerr
		}
	}
	if err == io.EOF { //nolint:errorlint // a wrapped one is no regular end
		return end, nil
	}
	return end, fmt.Errorf("append to upload: %w", err)
}

// begin says whether an upload takes bytes at an offset.
func (s *Store) begin(u *upload, offset int64, at blobstore.Time) (int64, error) {
	defer s.lock()()
	end := int64(len(u.b))
	if u.sealed {
		return end, blobstore.ErrUploadFinished
	}
	if offset >= 0 && offset != end {
		return end, &blobstore.OffsetError{Offset: end}
	}
	u.active = max(u.active, at)
	return end, nil
}

// write adds bytes, as many as fit.
func (s *Store) write(ctx context.Context, id blobstore.UploadID, u *upload, p []byte) (int64, error) {
	defer s.lock()()
	end := int64(len(u.b))
	if err := s.ready(ctx); err != nil {
		return end, err
	}
	if s.uploads[id] != u || u.ended {
		return end, blobstore.ErrUploadEnded
	}
	n := min(int64(len(p)), max(0, s.capacity-s.used))
	u.b = append(u.b, p[:n]...)
	s.used += n
	if n < int64(len(p)) {
		return end + n, blobstore.ErrNoSpace
	}
	return end + n, nil
}

// Finish is as the contract says.
func (s *Store) Finish(ctx context.Context, id blobstore.UploadID, d digest.Digest) (int64, error) {
	if err := blobstore.CheckDigest(d); err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	u, err := s.hold(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("finish upload: %w", err)
	}
	defer s.release(u)
	if have := d.Algorithm().FromBytes(u.b); have != d { // only the holder changes b
		return 0, fmt.Errorf("finish upload: %w", &blobstore.MismatchError{Want: d, Have: have})
	}
	defer s.lock()()
	u.sealed, u.finished = true, true
	return int64(len(u.b)), nil
}

// Publish is as the contract says. The copy shares the upload's bytes, which nobody changes any more.
func (s *Store) Publish(ctx context.Context, id blobstore.UploadID) ([]blobstore.Location, error) {
	u, err := s.hold(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	defer s.release(u)
	defer s.lock()()
	switch {
	case s.closed:
		return nil, blobstore.ErrClosed
	case u.ended:
		return nil, fmt.Errorf("publish: %w", blobstore.ErrUploadEnded)
	case !u.finished:
		return nil, fmt.Errorf("publish: %w", blobstore.ErrUploadNotFinished)
	}
	u.finished = false
	c := blobstore.NewCopyID()
	s.copies[c] = u.b
	s.used += int64(len(u.b))
	return []blobstore.Location{{Incarnation: s.incarnation, Copy: c}}, nil
}

// EndUpload is as the contract says.
func (s *Store) EndUpload(ctx context.Context, id blobstore.UploadID, at blobstore.Time) error {
	defer s.lock()()
	if err := s.ready(ctx); err != nil {
		return err
	}
	ended := &upload{ended: true, active: at}
	if u := s.uploads[id]; u != nil {
		ended.active = max(at, u.active)
		s.used -= int64(len(u.b))
	}
	s.uploads[id] = ended
	return nil
}

// RemoveUpload is as the contract says.
func (s *Store) RemoveUpload(ctx context.Context, id blobstore.UploadID) error {
	defer s.lock()()
	if err := s.ready(ctx); err != nil {
		return err
	}
	if u := s.uploads[id]; u != nil {
		s.used -= int64(len(u.b))
		delete(s.uploads, id)
	}
	return nil
}

// Uploads is as the contract says.
func (s *Store) Uploads(ctx context.Context, after blobstore.UploadID) iter.Seq2[blobstore.Upload, error] {
	return func(yield func(blobstore.Upload, error) bool) {
		all, err := s.listUploads(ctx)
		if err != nil {
			yield(blobstore.Upload{}, err)
			return
		}
		for _, u := range all {
			if bytes.Compare(u.ID[:], after[:]) > 0 && !yield(u, nil) {
				return
			}
		}
	}
}

func (s *Store) listUploads(ctx context.Context) ([]blobstore.Upload, error) {
	defer s.lock()()
	all := make([]blobstore.Upload, 0, len(s.uploads))
	for id, u := range s.uploads {
		all = append(all, u.describe(id))
	}
	slices.SortFunc(all, func(a, b blobstore.Upload) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all, s.ready(ctx)
}

// hold makes the caller the only one that writes to an upload, until release.
func (s *Store) hold(ctx context.Context, id blobstore.UploadID) (*upload, error) {
	defer s.lock()()
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	u := s.uploads[id]
	switch {
	case u == nil:
		return nil, blobstore.ErrUploadUnknown
	case u.ended:
		return nil, blobstore.ErrUploadEnded
	case u.busy:
		return nil, blobstore.ErrUploadBusy
	}
	u.busy = true
	return u, nil
}

func (s *Store) release(u *upload) {
	defer s.lock()()
	u.busy = false
}

// sortedCopies lists the ids of all copies.
func (s *Store) sortedCopies(ctx context.Context) ([]blobstore.CopyID, error) {
	defer s.lock()()
	ids := slices.SortedFunc(maps.Keys(s.copies), func(a, b blobstore.CopyID) int { return bytes.Compare(a[:], b[:]) })
	return ids, s.ready(ctx)
}
