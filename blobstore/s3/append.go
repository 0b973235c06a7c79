package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// pieceSize is how many bytes an Append holds in memory.
const pieceSize = 64 << 10

// errTooLarge is an upload that 10,000 parts do not hold.
var errTooLarge = fmt.Errorf("%w: the upload is larger than an object may be", blobstore.ErrNoSpace)

// Append is as the contract says, but that no upload outlives the process. What a client has sent and the bucket has
// not taken stays here, and is sent by the next call.
func (s *Store) Append(ctx context.Context, id blobstore.UploadID, offset int64, r io.Reader, at blobstore.Time) (int64, error) {
	u, err := s.claim(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("append to upload: %w", err)
	}
	defer s.release(ctx, u)
	end := u.tally.Size
	if u.sealed.Load() {
		return end, fmt.Errorf("append to upload: %w", blobstore.ErrUploadFinished)
	}
	if offset >= 0 && offset != end {
		return end, fmt.Errorf("append to upload: %w", &blobstore.OffsetError{Offset: end})
	}
	s.touch(u, at)
	if err := s.scratch.room(); err != nil {
		return end, fmt.Errorf("append to upload: %w", err)
	}
	if u.draft.closed {
		// Its bytes were read back for another algorithm, which then did not match.
		if err := s.restage(ctx, u, u.tally.Algorithm); err != nil {
			return end, fmt.Errorf("append to upload: %w", s.lost(ctx, u, err))
		}
	}
	w := s.newWriter(ctx, u.draft, u.tally)
	w.size, w.doomed = &u.size, func() error { return s.doomed(u) }
	defer func() { _ = w.end(nil) }() // only if r panics is there still something to wait for
	err = w.end(w.copy(r))
	if err != nil {
		err = fmt.Errorf("append to upload: %w", s.lost(ctx, u, err))
	}
	return u.tally.Size, err
}

// writer takes bytes into the files of a draft's parts, and sends the parts that are full.
type writer struct {
	store *Store
	ctx   context.Context //nolint:containedctx // of the one call that the writer is made for
	draft *draft
	tally *sums.Tally

	size   *atomic.Int64 // told how many bytes there are; nil: nobody asks
	doomed func() error  // returns what ends the upload from without; nil: nothing does

	file  disk.File // of the part that grows; nil while none does
	slots chan struct{}
	sends sync.WaitGroup

	mu     sync.Mutex
	failed error // the first error of a part
}

// newWriter makes a writer. Its end must be called.
func (s *Store) newWriter(ctx context.Context, d *draft, t *sums.Tally) *writer {
	return &writer{store: s, ctx: ctx, draft: d, tally: t, slots: make(chan struct{}, s.config.Parallel)}
}

// copy takes bytes until r ends or something fails. What an earlier call could not send is sent first.
func (w *writer) copy(r io.Reader) error {
	if err := w.sendFull(); err != nil {
		return err
	}
	buf := w.store.pieces.Get().(*[]byte)
	defer w.store.pieces.Put(buf)
	for {
		if w.doomed != nil {
			if err := w.doomed(); err != nil {
				return err
			}
		}
		n, rerr := blobstore.Fill(w.ctx, r, *buf)
		if err := w.write((*buf)[:n]); err != nil {
			return err
		}
		if rerr == io.EOF { //nolint:errorlint // a wrapped one is no regular end
			return nil
		}
		if rerr != nil {
			return fmt.Errorf("read: %w", rerr)
		}
	}
}

// write puts bytes at the end. What the disk has taken counts even if the rest failed.
func (w *writer) write(p []byte) error {
	for len(p) > 0 {
		if err := w.failure(); err != nil {
			return err
		}
		last, err := w.growing()
		if err != nil {
			return err
		}
		n := min(int64(len(p)), partSize(w.store.config.PartSize, last.number)-last.size)
		m, err := w.file.WriteAt(p[:n], last.size)
		last.size += int64(m)
		w.tally.Add(p[:m])
		if w.size != nil {
			w.size.Store(w.tally.Size)
		}
		if err != nil {
			return scratchFault("write part", err)
		}
		p = p[m:]
		if w.store.isFull(last) {
			if err := w.filled(last); err != nil {
				return err
			}
		}
	}
	return nil
}

// growing returns the part that takes more bytes, with its file open.
func (w *writer) growing() (*part, error) {
	d := w.draft
	n := len(d.parts)
	if n == 0 || w.store.isFull(d.parts[n-1]) {
		if n == maxParts {
			return nil, errTooLarge
		}
		d.parts = append(d.parts, &part{number: n, from: d.size()})
	}
	last := d.parts[len(d.parts)-1]
	if w.file == nil {
		f, err := w.store.scratch.files.OpenFile(partName(d, last), os.O_WRONLY|os.O_CREATE)
		if err != nil {
			return nil, scratchFault("make part", err)
		}
		w.file = f
	}
	return last, nil
}

// filled sends a part that has just become full, once there is a slot, if the disk may be filled further.
func (w *writer) filled(p *part) error {
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return scratchFault("write part", err)
	}
	if err := w.send(p); err != nil {
		return err
	}
	return w.store.scratch.room()
}

// sendFull sends the full parts that were not sent.
func (w *writer) sendFull() error {
	for _, p := range w.draft.parts {
		if p.etag == "" && w.store.isFull(p) {
			if err := w.send(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sends all that was not sent: no more bytes come.
func (w *writer) flush() error {
	for _, p := range w.draft.parts {
		if p.etag == "" {
			if err := w.send(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// send begins to send a part. It waits while so many are on their way that the bucket, and not the client, is slow.
func (w *writer) send(p *part) error {
	if err := w.store.begin(w.ctx, w.draft); err != nil {
		return err
	}
	select {
	case w.slots <- struct{}{}:
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
	want := sumsOf(w.tally, p)
	w.sends.Go(func() { // end waits for it
		defer func() { <-w.slots }()
		err := blobstore.Contain(func() error { return w.store.sendPart(w.ctx, w.draft, p, want) })
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.failed == nil {
			w.failed = err
		}
	})
	return nil
}

func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// end waits for the parts that are on their way. It returns what the work has come to.
func (w *writer) end(err error) error {
	if w.file != nil {
		err = errors.Join(err, scratchFault("write part", w.file.Close()))
		w.file = nil
	}
	w.sends.Wait()
	if failed := w.failure(); failed != nil && !errors.Is(err, failed) {
		err = errors.Join(err, failed)
	}
	return err
}
