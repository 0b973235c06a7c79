package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// draft is a copy that is not whole, or not visible, yet.
type draft struct {
	name   blobstore.CopyID // of its files; never seen outside
	copy   blobstore.CopyID
	upload string  // the bucket's name for the multipart upload; "" while there is none
	parts  []*part // all but the last of them full
	// closed says that the object was made of the parts, or may have been.
	closed bool
}

// part is a stretch of the bytes.
type part struct {
	number     int // counted from 0
	from, size int64
	etag       string // "" while it lies in its file, and not in the bucket
}

func newDraft() *draft { return &draft{name: blobstore.NewCopyID(), copy: blobstore.NewCopyID()} }

// size is how many bytes there are.
func (d *draft) size() int64 {
	if len(d.parts) == 0 {
		return 0
	}
	last := d.parts[len(d.parts)-1]
	return last.from + last.size
}

// small reports whether nothing of it was sent or will be before it becomes an object, by one request.
func (d *draft) small() bool { return d.upload == "" && len(d.parts) <= 1 }

// isFull reports whether a part takes no more.
func (s *Store) isFull(p *part) bool {
	return p.size == partSize(s.config.PartSize, p.number)
}

// begin begins the multipart upload, unless it was.
func (s *Store) begin(ctx context.Context, d *draft) error {
	if d.upload != "" {
		return nil
	}
	upload, err := s.bucket.begin(ctx, s.keys.copy(d.copy))
	if err != nil {
		return err
	}
	d.upload = upload
	s.own(upload, true)
	return nil
}

// sendPart brings one part into the bucket, and removes its file. Of its sums there are as many as it has chunks.
func (s *Store) sendPart(ctx context.Context, d *draft, p *part, want []uint32) error {
	f, r, err := s.openPart(d, p, want)
	if err != nil {
		return err
	}
	defer s.chunks.Put(r.buf)
	etag, err := s.bucket.part(ctx, s.keys.copy(d.copy), d.upload, int32(p.number+1), r, p.size) //nolint:gosec // 10,000 at most
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	p.etag = etag
	return s.scratch.remove(d, p)
}

// openPart opens the file of a part for reading. The caller closes it, and gives the reader's buffer back.
func (s *Store) openPart(d *draft, p *part, want []uint32) (io.Closer, *partReader, error) {
	f, err := s.scratch.files.OpenFile(partName(d, p), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		err = errors.Join(errScratch, err)
	}
	if err != nil {
		return nil, nil, scratchFault("open part", err)
	}
	return f, &partReader{file: f, sums: want, size: p.size, buf: s.chunks.Get().(*[]byte), cached: -1}, nil
}

// sumsOf are the sums of a part's chunks.
func sumsOf(t *sums.Tally, p *part) []uint32 {
	return t.Sums[p.from/blobstore.ChunkSize : sums.Chunks(p.from+p.size)]
}

// errGone is an object that was made of a draft and is not there any more.
var errGone = errors.New("the bucket has lost the bytes")

// close makes an object of the parts, all of which were sent. It may be repeated: an earlier attempt may have
// succeeded without a word.
func (s *Store) close(ctx context.Context, d *draft) error {
	d.closed = true // whatever comes: it may have been
	etags := make([]string, len(d.parts))
	for i, p := range d.parts {
		etags[i] = p.etag
	}
	key := s.keys.copy(d.copy)
	err := s.settle(ctx, d, s.onlyNew, func(onlyNew bool) error { return s.bucket.complete(ctx, key, d.upload, etags, onlyNew) })
	if err == nil {
		s.own(d.upload, false)
	}
	return err
}

// settle makes an object by do, and returns nil only if it is there then, with all its bytes. An error of do proves
// nothing: an attempt of which no answer came may have made the object, and the next one then finds the key taken
// or the upload gone. If the key is said to be taken and is not, the condition is left out: nobody else has it.
func (s *Store) settle(ctx context.Context, d *draft, onlyNew bool, do func(onlyNew bool) error) error {
	err := do(onlyNew)
	there := s.confirm(ctx, d)
	if errors.Is(err, errExists) && errors.Is(there, errNoObject) {
		blobstore.LogFor(ctx, s.log).Warn("the bucket says that a key is taken which is not", "copy", d.copy.String())
		err = do(false)
		there = s.confirm(ctx, d)
	}
	switch {
	case there == nil:
		return nil
	case errors.Is(err, errNoUpload) && errors.Is(there, errNoObject):
		return fmt.Errorf("%w: %w", errGone, err)
	case errors.Is(there, errNoObject) && !errors.Is(err, blobstore.ErrUnreachable):
		// It says that it has written what is not there, or that somebody else has.
		return fmt.Errorf("%w: %w", blobstore.ErrUnreachable, errors.Join(err, there))
	}
	return errors.Join(err, there)
}

// confirm returns nil if the object of a draft is there and has its size.
func (s *Store) confirm(ctx context.Context, d *draft) error {
	size, _, err := s.bucket.head(ctx, s.keys.copy(d.copy))
	if err != nil {
		return err
	}
	if size != d.size() {
		return fmt.Errorf("%w: copy %s has %d bytes in the bucket, not %d", blobstore.ErrUnreachable, d.copy, size, d.size())
	}
	return nil
}

// discard removes what is left of a draft, here and, unless it is a copy by now, in the bucket. It goes on when the
// request that it is for has ended, or nobody would do it before the upload is found to be nobody's.
func (s *Store) discard(ctx context.Context, d *draft) {
	if d == nil {
		return
	}
	for _, p := range d.parts {
		if p.etag == "" {
			if err := s.scratch.remove(d, p); err != nil {
				blobstore.LogFor(ctx, s.log).Warn("a part of an upload cannot be removed", "error", err)
			}
		}
	}
	if d.upload == "" || d.closed {
		s.own(d.upload, false)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Timing.Tidy)
	defer cancel()
	if err := s.bucket.abort(ctx, s.keys.copy(d.copy), d.upload); err != nil {
		blobstore.LogFor(ctx, s.log).Warn("a multipart upload is not aborted yet", "copy", d.copy.String(), "error", err)
	}
	s.own(d.upload, false)
}
