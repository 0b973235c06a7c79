package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/seed-16d79997/zot/blobstore"
)

// orphan is a multipart upload in the bucket that this process has not begun, or does not know any more: of another
// node, or left by one that is gone.
type orphan struct {
	multipart
	parts int
}

// id names an orphan among the uploads. It is another one when a part has come since: whoever removes what is silent
// for long enough then begins to count anew, though no time of the upload is known here.
func (o orphan) id() blobstore.UploadID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", o.key, o.upload, o.parts))
	return blobstore.UploadID(sum[:16])
}

// own notes whether this process is at work on a multipart upload.
func (s *Store) own(upload string, ours bool) {
	if upload == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ours {
		s.multiparts[upload] = struct{}{}
	} else {
		delete(s.multiparts, upload)
	}
}

// Uploads is as the contract says. Behind those of this process come the multipart uploads in the bucket that are not
// its own, as silent for ever: what a node has left behind that is gone, and what others are at work on. To ask how
// many parts have come is no way to go on with an upload, only to leave one alone that gets on.
func (s *Store) Uploads(ctx context.Context, after blobstore.UploadID) iter.Seq2[blobstore.Upload, error] {
	return func(yield func(blobstore.Upload, error) bool) {
		all, err := s.listUploads(ctx)
		if err != nil {
			yield(blobstore.Upload{}, fmt.Errorf("list uploads: %w", err))
			return
		}
		for _, up := range all {
			if slices.Compare(up.ID[:], after[:]) > 0 && !yield(up, nil) {
				return
			}
		}
	}
}

func (s *Store) listUploads(ctx context.Context) ([]blobstore.Upload, error) {
	if err := s.Check(ctx); err != nil {
		return nil, err
	}
	found, err := s.findOrphans(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphans = found
	all := make([]blobstore.Upload, 0, len(s.uploads)+len(found))
	for _, u := range s.uploads {
		if u.fate != goes {
			all = append(all, u.describe())
		}
	}
	for id := range found {
		all = append(all, blobstore.Upload{ID: id})
	}
	slices.SortFunc(all, func(a, b blobstore.Upload) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return all, nil
}

// findOrphans lists the multipart uploads of the cluster that are not this process's. A store that cannot list them
// has none to show; its operator has it remove them after some days (docs).
func (s *Store) findOrphans(ctx context.Context) (map[blobstore.UploadID]orphan, error) {
	found := map[blobstore.UploadID]orphan{}
	for m, err := range s.bucket.multiparts(ctx, s.keys.prefix) {
		if errors.Is(err, errUnknown) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if s.isOwn(m) {
			continue
		}
		n, err := s.bucket.countParts(ctx, m)
		if errors.Is(err, errNoUpload) {
			continue
		}
		if err != nil {
			return nil, err
		}
		o := orphan{m, n}
		found[o.id()] = o
	}
	return found, nil
}

func (s *Store) isOwn(m multipart) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, own := s.multiparts[m.upload]
	return own
}

// removeOrphan aborts a multipart upload of the newest list, if it is one and no part has come since.
func (s *Store) removeOrphan(ctx context.Context, id blobstore.UploadID) error {
	s.mu.Lock()
	o, known := s.orphans[id]
	s.mu.Unlock()
	if !known || s.isOwn(o.multipart) {
		return nil
	}
	n, err := s.bucket.countParts(ctx, o.multipart)
	if errors.Is(err, errNoUpload) || err == nil && n != o.parts {
		return nil
	}
	if err == nil {
		err = s.bucket.abort(ctx, o.key, o.upload)
	}
	return err
}
