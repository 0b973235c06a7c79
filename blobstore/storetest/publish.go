package storetest

import (
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
)

func publishing() []rule {
	return []rule{
		{"a blob of every kind of size comes back", func(t *testing.T, s *Subject) {
			for i, n := range []int{1, little, chunk - 1, chunk, chunk + 1, 2 * chunk, much} {
				p := Bytes(i, n)
				b := Store(t, s.Store, string(rune('a'+i)), p)
				whole(t, s.Store, b, p)
				ok(t, s.Store.Verify(t.Context(), b, nil))
			}
		}},
		{"only after Finish, and once for each", func(t *testing.T, s *Subject) {
			id := uploaded(t, s.Store, "u", []byte("x"))
			_, err := s.Store.Publish(t.Context(), id)
			is(t, err, blobstore.ErrUploadNotFinished)
			finish(t, s.Store, id, []byte("x"))
			publish(t, s.Store, id)
			_, err = s.Store.Publish(t.Context(), id)
			is(t, err, blobstore.ErrUploadNotFinished)
		}},
		{"again it makes other copies, and the first may go (GC R6)", func(t *testing.T, s *Subject) {
			p := Bytes(1, much)
			id := uploaded(t, s.Store, "u", p)
			seen := map[blobstore.CopyID]bool{}
			var last blobstore.Blob
			for range 3 {
				finish(t, s.Store, id, p)
				b := blob(p, publish(t, s.Store, id))
				for _, l := range b.Locations {
					if seen[l.Copy] {
						t.Fatalf("copy id %s is used twice", l.Copy)
					}
					seen[l.Copy] = true
				}
				if last.Size > 0 {
					ok(t, s.Store.RemoveCopies(t.Context(), own(t, s.Store, last)))
				}
				whole(t, s.Store, b, p)
				last = b
			}
		}},
		{"the same digest twice is two copies", func(t *testing.T, s *Subject) {
			p := Bytes(2, little)
			a, b := Store(t, s.Store, "a", p), Store(t, s.Store, "b", p)
			ok(t, s.Store.RemoveCopies(t.Context(), own(t, s.Store, a)))
			whole(t, s.Store, b, p)
		}},
		{"locations are the store's and listed", func(t *testing.T, s *Subject) {
			b := Store(t, s.Store, "a", Bytes(3, much))
			ids := listed(t, s.Store, blobstore.CopyID{})
			equal(t, "copies", len(ids), 1)
			equal(t, "copy", ids[0], own(t, s.Store, b))
		}},
	}
}

func restarting() []rule {
	const reopen = "the store forgets"
	again := func(t *testing.T, s *Subject) {
		t.Helper()
		if s.Reopen == nil {
			t.Skip(reopen)
		}
		old := s.Store
		t.Cleanup(func() { ok(t, old.Close()) })
		s.Store = s.Reopen(t)
	}
	return []rule{
		{"an upload goes on where it was", func(t *testing.T, s *Subject) {
			p := Bytes(1, large)
			id := uploaded(t, s.Store, "u", p[:4*chunk+77])
			again(t, s)
			up, err := s.Store.Upload(t.Context(), id)
			ok(t, err)
			equal(t, "upload", up, blobstore.Upload{ID: id, Offset: 4*chunk + 77, Active: 1})
			add(t, s.Store, id, p[4*chunk+77:])
			again(t, s)
			finish(t, s.Store, id, p)
			whole(t, s.Store, blob(p, publish(t, s.Store, id)), p)
		}},
		{"a small one goes on, or is unknown", func(t *testing.T, s *Subject) {
			for _, n := range []int{0, little, chunk} {
				id := uploaded(t, s.Store, "u", Bytes(1, n))
				again(t, s)
				up, err := s.Store.Upload(t.Context(), id)
				if err == nil {
					equal(t, "offset", up.Offset, int64(n))
					ok(t, s.Store.RemoveUpload(t.Context(), id))
					continue
				}
				is(t, err, blobstore.ErrUploadUnknown)
				finish(t, s.Store, uploaded(t, s.Store, "u", []byte("anew")), []byte("anew"))
				ok(t, s.Store.RemoveUpload(t.Context(), id))
			}
		}},
		{"an ended one stays ended", func(t *testing.T, s *Subject) {
			ok(t, s.Store.EndUpload(t.Context(), ID("u"), 4))
			again(t, s)
			is(t, s.Store.CreateUpload(t.Context(), ID("u"), "", 5), blobstore.ErrUploadEnded)
			equal(t, "active", uploads(t, s.Store, blobstore.UploadID{})[0].Active, 4)
		}},
		{"a finished one has to be finished again, and takes no bytes", func(t *testing.T, s *Subject) {
			p := Bytes(2, large)
			id := uploaded(t, s.Store, "u", p)
			finish(t, s.Store, id, p)
			again(t, s)
			up, err := s.Store.Upload(t.Context(), id)
			ok(t, err)
			equal(t, "upload", up, blobstore.Upload{ID: id, Offset: large, Active: 1, Finished: true})
			_, err = s.Store.Publish(t.Context(), id)
			is(t, err, blobstore.ErrUploadNotFinished)
			_, err = s.Store.Append(t.Context(), id, -1, readerFunc(nil), 1)
			is(t, err, blobstore.ErrUploadFinished)
			finish(t, s.Store, id, p)
			whole(t, s.Store, blob(p, publish(t, s.Store, id)), p)
		}},
		{"a published one makes new copies, beside those it has made", func(t *testing.T, s *Subject) {
			p := Bytes(3, large)
			id := uploaded(t, s.Store, "u", p)
			finish(t, s.Store, id, p)
			a := blob(p, publish(t, s.Store, id))
			again(t, s)
			finish(t, s.Store, id, p)
			b := blob(p, publish(t, s.Store, id))
			ok(t, s.Store.RemoveUpload(t.Context(), id))
			whole(t, s.Store, a, p)
			whole(t, s.Store, b, p)
			equal(t, "copies", len(listed(t, s.Store, blobstore.CopyID{})), 2)
		}},
	}
}
