package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// load brings an upload into memory that a former process, or this one long ago, has left. Its bytes are
// read and compared with the sums that were kept; it goes on where the last good chunk ends, because a power
// cut may have left anything behind the last sync.
func (s *Store) load(ctx context.Context, u *upload) error {
	if u.tally != nil {
		return nil
	}
	state, err := s.readState(u.id)
	if err != nil {
		return err
	}
	if state.ended {
		return blobstore.ErrUploadEnded
	}
	f, err := s.files.OpenFile(uploadName(u.id), os.O_RDWR)
	if errors.Is(err, fs.ErrPermission) { // sealed
		f, err = s.files.OpenFile(uploadName(u.id), os.O_RDONLY)
	}
	if errors.Is(err, fs.ErrNotExist) {
		f, err = nil, checkMarker(s.files, s.marker)
	}
	if err != nil {
		return s.fault("open upload", err)
	}
	if err := s.resume(ctx, u, f, state); err != nil {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		return fmt.Errorf("resume upload: %w", err)
	}
	return nil
}

// resume goes on with what f has of an upload; nil if that is nothing.
func (s *Store) resume(ctx context.Context, u *upload, f File, state uploadState) error {
	t, err := sums.NewTally(state.algorithm)
	if err != nil {
		return err
	}
	sealed := false
	if f != nil {
		if t, sealed, err = s.recover(ctx, f, state); err != nil {
			return s.fault("read upload", err)
		}
	}
	u.file, u.onDisk = f, true
	u.sealed.Store(sealed)
	s.touch(u, state.active)
	s.loaded(u, t)
	return nil
}

// recover reads what a file has of an upload. A sealed file is whole, whatever was kept beside it: Finish had
// verified it, and the next Finish will again. Of another one, what has no sum is cut off.
func (s *Store) recover(ctx context.Context, f File, state uploadState) (t *sums.Tally, sealed bool, err error) {
	size, sealed, err := inspect(f)
	if err != nil {
		return nil, false, err
	}
	if sealed {
		t, err = s.count(ctx, f, state.algorithm, size, nil)
		return t, true, err
	}
	t, err = s.count(ctx, f, state.algorithm, min(state.size, size), state.sums)
	if err == nil {
		err = f.Truncate(t.Size)
	}
	return t, false, err
}

// count reads size bytes, or only as far as chunks can be read and have the sums that are wanted of them.
func (s *Store) count(ctx context.Context, f File, a digest.Algorithm, size int64, want []uint32) (*sums.Tally, error) {
	t, err := sums.NewTally(a)
	if err != nil {
		return nil, err
	}
	buf := s.chunks.take()
	defer s.chunks.put(buf)
	for i := 0; t.Size < size; i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := (*buf)[:min(blobstore.ChunkSize, size-t.Size)]
		n, err := f.ReadAt(p, t.Size)
		if n < len(p) && !errors.Is(err, io.EOF) && !isRot(err) {
			return nil, err
		}
		if n < len(p) || want != nil && sums.Of(p) != want[i] {
			break
		}
		t.Add(p)
	}
	return t, nil
}

// reread reads the bytes of a loaded upload again, for another algorithm or because their digest was used up.
// It returns ErrUploadBroken if they are no longer what had arrived.
func (s *Store) reread(ctx context.Context, u *upload, a digest.Algorithm) (*sums.Tally, error) {
	if u.file == nil {
		return sums.NewTally(a)
	}
	t, err := s.count(ctx, u.file, a, u.tally.Size, u.tally.Sums)
	if err != nil {
		return nil, s.fault("read upload", err)
	}
	if t.Size != u.tally.Size {
		return nil, s.broken(u, fmt.Errorf("%w: chunk %d", errSum, len(t.Sums)))
	}
	return t, nil
}
