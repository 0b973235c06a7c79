package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

func copies() []rule {
	return []rule{
		{"listed in the order of their ids, after one of them", func(t *testing.T, s *Subject) {
			want := map[blobstore.CopyID]bool{}
			for i := range 20 {
				n := little
				if i%4 == 0 {
					n = chunk + 1
				}
				want[own(t, s.Store, Store(t, s.Store, "u", Bytes(i, n)))] = true
			}
			all := listed(t, s.Store, blobstore.CopyID{})
			equal(t, "copies", len(all), len(want))
			for i, id := range all {
				equal(t, "known", want[id], true)
				if i > 0 && bytes.Compare(all[i-1][:], id[:]) >= 0 {
					t.Fatalf("%s does not come before %s", all[i-1], id)
				}
				equal(t, "after it", len(listed(t, s.Store, id)), len(all)-i-1)
			}
			for _, err := range s.Store.Copies(t.Context(), blobstore.CopyID{}) {
				ok(t, err)
				break
			}
		}},
		{"a list ends with its context", func(t *testing.T, s *Subject) {
			Store(t, s.Store, "u", []byte("x"))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for _, err := range s.Store.Copies(ctx, blobstore.CopyID{}) {
				is(t, err, context.Canceled)
				return
			}
			t.Fatal("the list ended as if nothing were there")
		}},
		{"removed for good, and again", func(t *testing.T, s *Subject) {
			p := Bytes(1, much)
			a, b := Store(t, s.Store, "a", p), Store(t, s.Store, "b", p)
			for range 2 {
				ok(t, s.Store.RemoveCopies(t.Context(), own(t, s.Store, a), blobstore.CopyID{0xfe}))
			}
			equal(t, "copies", len(listed(t, s.Store, blobstore.CopyID{})), 1)
			_, err := s.Store.Open(t.Context(), blobstore.Blob{Digest: a.Digest, Size: a.Size, Locations: []blobstore.Location{{Incarnation: s.Store.Incarnation(), Copy: own(t, s.Store, a)}}}, 0, -1)
			is(t, err, blobstore.ErrCopyUnknown)
			whole(t, s.Store, b, p)
		}},
		{"verified at the pace of whoever asks", func(t *testing.T, s *Subject) {
			b := Store(t, s.Store, "u", Bytes(2, much))
			total := 0
			ok(t, s.Store.Verify(t.Context(), b, func(_ context.Context, n int) error { total += n; return nil }))
			equal(t, "asked for", total, much)
			stop := errors.New("no time")
			is(t, s.Store.Verify(t.Context(), b, func(context.Context, int) error { return stop }), stop)
		}},
		{"there is room, and less after a blob", func(t *testing.T, s *Subject) {
			u, err := s.Store.Usage(t.Context())
			ok(t, err)
			if u.Free <= 0 || u.Free > u.Total {
				t.Fatalf("%d of %d bytes are free", u.Free, u.Total)
			}
		}},
	}
}

func filling() []rule {
	return []rule{{"an upload waits for room", func(t *testing.T, s *Subject) {
		if s.Full == nil {
			t.Skip("the store does not fill up")
		}
		p := Bytes(1, much)
		id := uploaded(t, s.Store, "u", p[:chunk+3])
		s.Full(t, true)
		end, err := s.Store.Append(t.Context(), id, chunk+3, bytes.NewReader(p[chunk+3:]), 1)
		is(t, err, blobstore.ErrNoSpace)
		up, err := s.Store.Upload(t.Context(), id)
		ok(t, err)
		equal(t, "offset", up.Offset, end)
		if end < chunk+3 || end == much {
			t.Fatalf("offset is %d", end)
		}
		s.Full(t, false)
		add(t, s.Store, id, p[end:])
		finish(t, s.Store, id, p)
		whole(t, s.Store, blob(p, publish(t, s.Store, id)), p)
	}}}
}

func offline() []rule {
	return []rule{
		{"a store without its marker learns nothing, and writes nothing (GC R13)", func(t *testing.T, s *Subject) {
			if s.Lose == nil {
				t.Skip("the store has no marker")
			}
			p := Bytes(1, little)
			b := Store(t, s.Store, "u", p)
			done := uploaded(t, s.Store, "done", p)
			finish(t, s.Store, done, p)
			s.Lose(t)
			ctx := t.Context()
			is(t, s.Store.Check(ctx), blobstore.ErrOffline)
			is(t, s.Store.RemoveCopies(ctx, own(t, s.Store, b)), blobstore.ErrOffline)
			if have, err := read(ctx, s.Store, b, 0, -1); !errors.Is(err, blobstore.ErrOffline) && !bytes.Equal(have, p) {
				t.Fatalf("read %d bytes, and then %v", len(have), err)
			}
			_, err := s.Store.Open(ctx, blob(p, []blobstore.Location{{Incarnation: s.Store.Incarnation(), Copy: blobstore.CopyID{0xfe}}}), 0, -1)
			is(t, err, blobstore.ErrOffline)
			is(t, s.Store.Verify(ctx, b, nil), blobstore.ErrOffline)
			is(t, s.Store.CreateUpload(ctx, ID("v"), "", 1), blobstore.ErrOffline)
			_, err = s.Store.Upload(ctx, ID("v"))
			is(t, err, blobstore.ErrOffline)
			_, err = s.Store.Append(ctx, ID("v"), 0, strings.NewReader("x"), 1)
			is(t, err, blobstore.ErrOffline)
			_, err = s.Store.Finish(ctx, ID("v"), digest.FromString("x"))
			is(t, err, blobstore.ErrOffline)
			_, err = s.Store.Publish(ctx, done)
			is(t, err, blobstore.ErrOffline)
			is(t, s.Store.EndUpload(ctx, ID("v"), 1), blobstore.ErrOffline)
			is(t, s.Store.RemoveUpload(ctx, ID("v")), blobstore.ErrOffline)
			_, err = s.Store.Usage(ctx)
			is(t, err, blobstore.ErrOffline)
			for _, err := range s.Store.Copies(ctx, blobstore.CopyID{}) {
				is(t, err, blobstore.ErrOffline)
			}
			for _, err := range s.Store.Uploads(ctx, blobstore.UploadID{}) {
				is(t, err, blobstore.ErrOffline)
			}
		}},
		{"a closed store says so", func(t *testing.T, s *Subject) {
			p := Bytes(2, much)
			b := Store(t, s.Store, "u", p)
			create(t, s.Store, ID("v"))
			r, err := s.Store.Open(t.Context(), b, 0, -1)
			ok(t, err)
			ok(t, s.Store.Close())
			ok(t, s.Store.Close())
			is(t, s.Store.Check(t.Context()), blobstore.ErrClosed)
			_, err = s.Store.Open(t.Context(), b, 0, -1)
			is(t, err, blobstore.ErrClosed)
			_, err = s.Store.Append(t.Context(), ID("v"), 0, strings.NewReader("x"), 1)
			is(t, err, blobstore.ErrClosed)
			is(t, s.Store.RemoveCopies(t.Context(), own(t, s.Store, b)), blobstore.ErrClosed)
			for _, err := range s.Store.Copies(t.Context(), blobstore.CopyID{}) {
				is(t, err, blobstore.ErrClosed)
			}
			var out bytes.Buffer
			_, err = r.WriteTo(&out)
			ok(t, errors.Join(err, r.Close()))
			equal(t, "a stream goes on", bytes.Equal(out.Bytes(), p), true)
		}},
	}
}
