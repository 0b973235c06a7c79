package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/seed-16d79997/zot/blobstore"
)

func together() []rule {
	return []rule{
		{"many uploads and reads at once", func(t *testing.T, s *Subject) {
			g, ctx := errgroup.WithContext(t.Context())
			for worker := range 8 {
				g.Go(func() error {
					for round := range 12 {
						if err := lifeOfABlob(ctx, s.Store, worker*100+round); err != nil {
							return fmt.Errorf("worker %d, round %d: %w", worker, round, err)
						}
					}
					return nil
				})
			}
			ok(t, g.Wait())
			equal(t, "copies left", len(listed(t, s.Store, blobstore.CopyID{})), 0)
			equal(t, "uploads left", len(uploads(t, s.Store, blobstore.UploadID{})), 0)
		}},
		{"one upload under many hands keeps its bytes in order", func(t *testing.T, s *Subject) {
			create(t, s.Store, ID("u"))
			p := Bytes(1, much)
			g, ctx := errgroup.WithContext(t.Context())
			for worker := range 4 {
				g.Go(func() error { return contend(ctx, s.Store, ID("u"), p, worker) })
			}
			ok(t, g.Wait())
			finish(t, s.Store, ID("u"), p)
			whole(t, s.Store, blob(p, publish(t, s.Store, ID("u"))), p)
		}},
		{"a slow client holds nobody up", func(t *testing.T, s *Subject) {
			create(t, s.Store, ID("slow"))
			gate := newGate([]byte("s"), io.EOF)
			done := make(chan error, 1)
			go func() {
				_, err := s.Store.Append(context.WithoutCancel(t.Context()), ID("slow"), 0, gate, 1)
				done <- err
			}()
			<-gate.entered
			p := Bytes(2, much)
			whole(t, s.Store, Store(t, s.Store, "quick", p), p)
			equal(t, "uploads", len(uploads(t, s.Store, blobstore.UploadID{})), 1)
			close(gate.open)
			ok(t, <-done)
		}},
	}
}

// lifeOfABlob pushes a blob in pieces, reads it while others do the same, and removes it.
func lifeOfABlob(ctx context.Context, s blobstore.Store, seed int) error {
	rng := chance(seed)
	p := Bytes(seed, rng.IntN(2*chunk))
	id := ID(fmt.Sprint("life ", seed))
	if err := s.CreateUpload(ctx, id, "", 1); err != nil {
		return err
	}
	for at := 0; at < len(p); {
		n := min(len(p)-at, 1+rng.IntN(chunk))
		if _, err := s.Append(ctx, id, int64(at), bytes.NewReader(p[at:at+n]), 1); err != nil {
			return err
		}
		at += n
	}
	if _, err := s.Finish(ctx, id, digest.FromBytes(p)); err != nil {
		return err
	}
	at, err := s.Publish(ctx, id)
	if err != nil {
		return err
	}
	if err := s.RemoveUpload(ctx, id); err != nil {
		return err
	}
	from := int64(rng.IntN(len(p) + 1))
	have, err := read(ctx, s, blob(p, at), from, -1)
	if err != nil || !bytes.Equal(have, p[from:]) {
		return errors.Join(err, fmt.Errorf("read %d bytes from %d on, want %d", len(have), from, int64(len(p))-from))
	}
	for _, l := range at {
		if l.Incarnation == s.Incarnation() {
			err = s.RemoveCopies(ctx, l.Copy)
		}
	}
	return err
}

// contend appends pieces of p at the offset that it believes in, beside others who do the same.
func contend(ctx context.Context, s blobstore.Store, id blobstore.UploadID, p []byte, seed int) error {
	rng := chance(seed)
	for {
		up, err := s.Upload(ctx, id)
		if err != nil {
			return err
		}
		if up.Offset == int64(len(p)) && !up.Writing {
			return nil
		}
		end := min(int64(len(p)), up.Offset+int64(1+rng.IntN(chunk/4)))
		_, err = s.Append(ctx, id, up.Offset, bytes.NewReader(p[up.Offset:end]), 1)
		if err != nil && !errors.Is(err, blobstore.ErrOffset) && !errors.Is(err, blobstore.ErrUploadBusy) {
			return err
		}
	}
}
