package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/seed-16d79997/zot/blobstore"
)

// syncEvery is how many bytes are written before they are made durable while more arrive, so that little is
// left to wait for when the last has come.
const syncEvery = 64 << 20

// pieceSize is how many bytes an Append holds in memory.
const pieceSize = 64 << 10

// writeEvery is how many bytes the kernel is asked to begin to write out, so that the disk is at work while
// the next are received and hashed.
const writeEvery = 4 << 20

// Append is as the contract says.
func (s *Store) Append(ctx context.Context, id blobstore.UploadID, offset int64, r io.Reader, at blobstore.Time) (end int64, err error) {
	u, err := s.hold(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("append to upload: %w", err)
	}
	defer func() { err = errors.Join(err, s.release(u)) }()
	if u.sealed.Load() {
		return u.tally.Size, fmt.Errorf("append to upload: %w", blobstore.ErrUploadFinished)
	}
	if offset >= 0 && offset != u.tally.Size {
		return u.tally.Size, fmt.Errorf("append to upload: %w", &blobstore.OffsetError{Offset: u.tally.Size})
	}
	s.touch(u, at)
	if err := s.room(); err != nil {
		return u.tally.Size, fmt.Errorf("append to upload: %w", err)
	}
	w := writer{store: s, upload: u, started: u.tally.Size}
	defer func() { _ = w.wait() }() // only if r panics is there still one to wait for
	err = w.copy(ctx, r)
	return u.tally.Size, errors.Join(err, w.end())
}

// writer takes the bytes of one Append.
type writer struct {
	store   *Store
	upload  *upload
	pending chan synced // of the sync under way; nil if there is none
	target  int64       // what will be durable when it has ended
	started int64       // what the kernel was asked to write out
}

// synced is how a sync went.
type synced struct {
	durable bool
	err     error
}

// copy takes bytes until r ends or something fails.
func (w *writer) copy(ctx context.Context, r io.Reader) error {
	buf := w.store.pieces.take()
	defer w.store.pieces.put(buf)
	for {
		if err := w.store.doomed(w.upload); err != nil {
			return fmt.Errorf("append to upload: %w", err)
		}
		n, rerr := blobstore.Fill(ctx, r, *buf)
		if n > 0 {
			if err := w.write((*buf)[:n]); err != nil {
				return err
			}
		}
		if rerr == io.EOF { //nolint:errorlint // a wrapped one is no regular end
			return nil
		}
		if rerr != nil {
			return fmt.Errorf("append to upload: read: %w", rerr)
		}
	}
}

// write puts bytes at the end. What the disk has taken counts even if the rest failed.
func (w *writer) write(p []byte) error {
	u := w.upload
	if u.file == nil {
		f, err := w.store.files.OpenFile(uploadName(u.id), openNew)
		if err != nil {
			return w.store.fault("append to upload", err)
		}
		u.file = f
	}
	n, err := u.file.WriteAt(p, u.tally.Size)
	u.tally.Add(p[:n])
	u.size.Store(u.tally.Size)
	if err != nil {
		return w.store.fault("append to upload", err)
	}
	if u.tally.Size-w.started >= writeEvery {
		startWriting(u.file, w.started, u.tally.Size-w.started)
		w.started = u.tally.Size
	}
	if u.tally.Size-max(u.synced, w.target) >= syncEvery {
		return w.checkpoint()
	}
	return nil
}

// checkpoint begins to make durable what is there, once the sync before has ended: so at most two such
// stretches are at risk, and a slow disk holds the client back.
func (w *writer) checkpoint() error {
	if err := w.wait(); err != nil {
		return err
	}
	if err := w.store.room(); err != nil {
		return fmt.Errorf("append to upload: %w", err)
	}
	u, state := w.upload, w.store.state(w.upload)
	state.sums = slices.Clone(state.sums) // that of the last chunk goes on changing
	w.pending, w.target = make(chan synced, 1), u.tally.Size
	file, pending := u.file, w.pending
	go func() { // wait waits for it
		var is synced
		is.err = blobstore.Contain(func() error {
			if err := file.Sync(); err != nil {
				return w.store.broken(u, err)
			}
			is.durable = true
			return w.store.keep(u, state, true)
		})
		pending <- is
	}()
	return nil
}

// wait waits for the sync under way.
func (w *writer) wait() error {
	if w.pending == nil {
		return nil
	}
	is := <-w.pending
	w.pending = nil
	if is.durable {
		w.upload.synced = w.target
	}
	return is.err
}

// end keeps what the upload has come to for the next process. A power cut may take that record, and leaves
// those before it.
func (w *writer) end() error {
	err := w.wait()
	u := w.upload
	if ended := w.store.doomed(u); ended != nil {
		if errors.Is(err, blobstore.ErrUploadBroken) {
			return err
		}
		return errors.Join(err, ended)
	}
	state := w.store.state(u)
	if u.kept.says(state) || !u.onDisk && state.size < keepFrom && !w.store.crowded() {
		return err
	}
	return errors.Join(err, w.store.keep(u, state, false))
}
