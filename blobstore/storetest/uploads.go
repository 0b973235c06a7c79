package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

func appending() []rule {
	return []rule{
		{"an upload takes bytes at its offset and nowhere else", func(t *testing.T, s *Subject) {
			p := Bytes(1, much)
			create(t, s.Store, ID("u"))
			for _, n := range []int{0, 1, little, chunk - 1, chunk, chunk + 1, much} {
				up, err := s.Store.Upload(t.Context(), ID("u"))
				ok(t, err)
				for _, wrong := range []int64{up.Offset - 1, up.Offset + 1} {
					if wrong < 0 {
						continue
					}
					end, err := s.Store.Append(t.Context(), ID("u"), wrong, strings.NewReader("x"), 1)
					is(t, err, blobstore.ErrOffset)
					equal(t, "offset beside the error", end, up.Offset)
					at := new(blobstore.OffsetError)
					if !errors.As(err, &at) || at.Offset != up.Offset {
						t.Fatalf("%v does not say %d", err, up.Offset)
					}
				}
				add(t, s.Store, ID("u"), p[up.Offset:max(up.Offset, int64(n))])
			}
			finish(t, s.Store, ID("u"), p)
			whole(t, s.Store, blob(p, publish(t, s.Store, ID("u"))), p)
		}},
		{"a negative offset is the end", func(t *testing.T, s *Subject) {
			create(t, s.Store, ID("u"))
			for _, part := range []string{"one", "two"} {
				_, err := s.Store.Append(t.Context(), ID("u"), -1, strings.NewReader(part), 1)
				ok(t, err)
			}
			finish(t, s.Store, ID("u"), []byte("onetwo"))
		}},
		{"what came before a reader's error is kept", func(t *testing.T, s *Subject) {
			p, cut := Bytes(2, much), errors.New("cut")
			create(t, s.Store, ID("u"))
			end, err := s.Store.Append(t.Context(), ID("u"), 0, io.MultiReader(bytes.NewReader(p[:chunk+7]), iotest.ErrReader(cut)), 1)
			is(t, err, cut)
			equal(t, "offset", end, chunk+7)
			add(t, s.Store, ID("u"), p[chunk+7:])
			finish(t, s.Store, ID("u"), p)
		}},
		{"an end of a body that came too early is no end", func(t *testing.T, s *Subject) {
			create(t, s.Store, ID("u"))
			_, err := s.Store.Append(t.Context(), ID("u"), 0, iotest.ErrReader(io.ErrUnexpectedEOF), 1)
			is(t, err, io.ErrUnexpectedEOF)
		}},
		{"a reader that gives single bytes, or bytes with its end", func(t *testing.T, s *Subject) {
			p := Bytes(3, little)
			create(t, s.Store, ID("u"))
			_, err := s.Store.Append(t.Context(), ID("u"), 0, iotest.OneByteReader(iotest.DataErrReader(bytes.NewReader(p))), 1)
			ok(t, err)
			finish(t, s.Store, ID("u"), p)
		}},
		{"a context that ends stops it between reads", func(t *testing.T, s *Subject) {
			ctx, cancel := context.WithCancel(t.Context())
			create(t, s.Store, ID("u"))
			endless := readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
			_, err := s.Store.Append(ctx, ID("u"), 0, endless, 1)
			is(t, err, context.Canceled)
		}},
		{"one upload, one writer", func(t *testing.T, s *Subject) {
			create(t, s.Store, ID("u"))
			g := newGate([]byte("first"), io.EOF)
			done := make(chan error, 1)
			go func() {
				_, err := s.Store.Append(context.WithoutCancel(t.Context()), ID("u"), 0, g, 1)
				done <- err
			}()
			<-g.entered
			up, err := s.Store.Upload(t.Context(), ID("u"))
			ok(t, err)
			equal(t, "writing", up.Writing, true)
			_, err = s.Store.Append(t.Context(), ID("u"), -1, strings.NewReader("x"), 1)
			is(t, err, blobstore.ErrUploadBusy)
			_, err = s.Store.Finish(t.Context(), ID("u"), digest.FromString("first"))
			is(t, err, blobstore.ErrUploadBusy)
			_, err = s.Store.Publish(t.Context(), ID("u"))
			is(t, err, blobstore.ErrUploadBusy)
			close(g.open)
			ok(t, <-done)
			finish(t, s.Store, ID("u"), []byte("first"))
		}},
		{"an id is taken once", func(t *testing.T, s *Subject) {
			create(t, s.Store, ID("u"))
			is(t, s.Store.CreateUpload(t.Context(), ID("u"), "", 1), blobstore.ErrUploadExists)
			is(t, s.Store.CreateUpload(t.Context(), ID("v"), digest.SHA384, 1), blobstore.ErrDigestUnsupported)
			_, err := s.Store.Upload(t.Context(), ID("v"))
			is(t, err, blobstore.ErrUploadUnknown)
		}},
		{"an upload that nobody made is unknown", func(t *testing.T, s *Subject) {
			_, err := s.Store.Append(t.Context(), ID("u"), 0, strings.NewReader("x"), 1)
			is(t, err, blobstore.ErrUploadUnknown)
			_, err = s.Store.Finish(t.Context(), ID("u"), digest.FromString("x"))
			is(t, err, blobstore.ErrUploadUnknown)
			_, err = s.Store.Publish(t.Context(), ID("u"))
			is(t, err, blobstore.ErrUploadUnknown)
			create(t, s.Store, ID("u")) // and to ask did not make it
		}},
	}
}

type readerFunc func(p []byte) (int, error)

// Read calls the function.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func finishing() []rule {
	return []rule{
		{"bytes that do not match are refused, and stay", func(t *testing.T, s *Subject) {
			p := Bytes(1, much)
			id := uploaded(t, s.Store, "u", p[:chunk])
			_, err := s.Store.Finish(t.Context(), id, digest.FromBytes(p))
			is(t, err, blobstore.ErrDigestMismatch)
			bad := new(blobstore.MismatchError)
			if !errors.As(err, &bad) || bad.Want != digest.FromBytes(p) || bad.Have != digest.FromBytes(p[:chunk]) {
				t.Fatalf("%v does not say what does not match", err)
			}
			_, err = s.Store.Publish(t.Context(), id)
			is(t, err, blobstore.ErrUploadNotFinished)
			add(t, s.Store, id, p[chunk:])
			finish(t, s.Store, id, p)
		}},
		{"both algorithms, announced or not", func(t *testing.T, s *Subject) {
			p := Bytes(2, much)
			for _, hint := range []digest.Algorithm{"", digest.SHA256, digest.SHA512} {
				for _, asked := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
					id := ID(string(hint + "/" + asked))
					ok(t, s.Store.CreateUpload(t.Context(), id, hint, 1))
					add(t, s.Store, id, p)
					_, err := s.Store.Finish(t.Context(), id, asked.FromString("else"))
					is(t, err, blobstore.ErrDigestMismatch)
					d := asked.FromBytes(p)
					n, err := s.Store.Finish(t.Context(), id, d)
					ok(t, err)
					equal(t, "size", n, int64(len(p)))
					whole(t, s.Store, blobstore.Blob{Digest: d, Size: n, Locations: publish(t, s.Store, id)}, p)
				}
			}
		}},
		{"what is no digest of these is refused", func(t *testing.T, s *Subject) {
			id := uploaded(t, s.Store, "u", []byte("x"))
			for _, d := range []digest.Digest{"", "sha256", "sha256:", "sha256:12", digest.SHA384.FromString("x"), "md5:9dd4e461268c8034f5c8564e155c67a6", "../x"} {
				_, err := s.Store.Finish(t.Context(), id, d)
				is(t, err, blobstore.ErrDigestUnsupported)
			}
			finish(t, s.Store, id, []byte("x"))
		}},
		{"an upload without a byte is the empty blob", func(t *testing.T, s *Subject) {
			create(t, s.Store, ID("u"))
			finish(t, s.Store, ID("u"), nil)
			whole(t, s.Store, blob(nil, publish(t, s.Store, ID("u"))), nil)
		}},
		{"nothing is visible yet", func(t *testing.T, s *Subject) {
			finish(t, s.Store, uploaded(t, s.Store, "u", Bytes(3, much)), Bytes(3, much))
			equal(t, "copies", len(listed(t, s.Store, blobstore.CopyID{})), 0)
		}},
		{"a finished upload takes no more bytes", func(t *testing.T, s *Subject) {
			id := uploaded(t, s.Store, "u", []byte("all"))
			finish(t, s.Store, id, []byte("all"))
			up, err := s.Store.Upload(t.Context(), id)
			ok(t, err)
			equal(t, "finished", up.Finished, true)
			end, err := s.Store.Append(t.Context(), id, -1, strings.NewReader("more"), 1)
			is(t, err, blobstore.ErrUploadFinished)
			equal(t, "offset", end, 3)
			finish(t, s.Store, id, []byte("all"))
		}},
	}
}

func ending() []rule {
	return []rule{
		{"an ended upload keeps its id taken", func(t *testing.T, s *Subject) {
			id := uploaded(t, s.Store, "u", Bytes(1, much))
			ok(t, s.Store.EndUpload(t.Context(), id, 5))
			up, err := s.Store.Upload(t.Context(), id)
			is(t, err, blobstore.ErrUploadEnded)
			equal(t, "upload", up, blobstore.Upload{ID: id, Active: 5, Ended: true})
			is(t, s.Store.CreateUpload(t.Context(), id, "", 6), blobstore.ErrUploadEnded)
			_, err = s.Store.Append(t.Context(), id, 0, strings.NewReader("x"), 6)
			is(t, err, blobstore.ErrUploadEnded)
			_, err = s.Store.Finish(t.Context(), id, digest.FromString(""))
			is(t, err, blobstore.ErrUploadEnded)
			_, err = s.Store.Publish(t.Context(), id)
			is(t, err, blobstore.ErrUploadEnded)
			ok(t, s.Store.EndUpload(t.Context(), id, 7))
		}},
		{"an id that is unknown can be taken", func(t *testing.T, s *Subject) {
			ok(t, s.Store.EndUpload(t.Context(), ID("u"), 5))
			is(t, s.Store.CreateUpload(t.Context(), ID("u"), "", 6), blobstore.ErrUploadEnded)
		}},
		{"a removed upload is unknown, ended or not", func(t *testing.T, s *Subject) {
			id := uploaded(t, s.Store, "u", []byte("x"))
			ok(t, s.Store.RemoveUpload(t.Context(), id))
			ok(t, s.Store.RemoveUpload(t.Context(), id))
			_, err := s.Store.Upload(t.Context(), id)
			is(t, err, blobstore.ErrUploadUnknown)
			ok(t, s.Store.EndUpload(t.Context(), id, 5))
			ok(t, s.Store.RemoveUpload(t.Context(), id))
			id = uploaded(t, s.Store, "u", []byte("anew"))
			finish(t, s.Store, id, []byte("anew"))
		}},
		{"copies stay", func(t *testing.T, s *Subject) {
			p := Bytes(2, much)
			id := uploaded(t, s.Store, "u", p)
			finish(t, s.Store, id, p)
			b := blob(p, publish(t, s.Store, id))
			ok(t, s.Store.EndUpload(t.Context(), id, 5))
			whole(t, s.Store, b, p)
			ok(t, s.Store.RemoveUpload(t.Context(), id))
			whole(t, s.Store, b, p)
		}},
		{"a writer at work is stopped", func(t *testing.T, s *Subject) {
			for _, end := range []func(context.Context, blobstore.UploadID) error{
				func(ctx context.Context, id blobstore.UploadID) error { return s.Store.EndUpload(ctx, id, 5) },
				s.Store.RemoveUpload,
			} {
				create(t, s.Store, ID("u"))
				g := newGate(Bytes(3, little), nil)
				done := make(chan error, 1)
				go func() {
					more := io.MultiReader(io.LimitReader(g, little+1), bytes.NewReader(Bytes(4, 4*chunk)))
					_, err := s.Store.Append(context.WithoutCancel(t.Context()), ID("u"), 0, more, 1)
					done <- err
				}()
				<-g.entered
				ok(t, end(t.Context(), ID("u")))
				g.err = io.EOF
				close(g.open)
				is(t, <-done, blobstore.ErrUploadEnded)
				ok(t, s.Store.RemoveUpload(t.Context(), ID("u")))
				_, err := s.Store.Upload(t.Context(), ID("u"))
				is(t, err, blobstore.ErrUploadUnknown)
			}
		}},
	}
}

func listingUploads() []rule {
	return []rule{
		{"in the order of their ids, after one of them", func(t *testing.T, s *Subject) {
			want := map[blobstore.UploadID]blobstore.Upload{}
			for i, name := range []string{"a", "b", "c", "d", "e"} {
				id, at := ID(name), blobstore.Time(i+1)
				ok(t, s.Store.CreateUpload(t.Context(), id, "", at))
				want[id] = blobstore.Upload{ID: id, Active: at}
			}
			ok(t, s.Store.EndUpload(t.Context(), ID("c"), 30))
			want[ID("c")] = blobstore.Upload{ID: ID("c"), Active: 30, Ended: true}
			add(t, s.Store, ID("d"), []byte("ddd"))
			want[ID("d")] = blobstore.Upload{ID: ID("d"), Active: 4, Offset: 3}
			all := uploads(t, s.Store, blobstore.UploadID{})
			equal(t, "uploads", len(all), len(want))
			for i, up := range all {
				equal(t, "upload", up, want[up.ID])
				if i > 0 && bytes.Compare(all[i-1].ID[:], up.ID[:]) >= 0 {
					t.Fatalf("%s does not come before %s", all[i-1].ID, up.ID)
				}
				equal(t, "after it", len(uploads(t, s.Store, up.ID)), len(all)-i-1)
			}
		}},
		{"the newest time counts", func(t *testing.T, s *Subject) {
			ok(t, s.Store.CreateUpload(t.Context(), ID("u"), "", 10))
			for _, at := range []blobstore.Time{12, 11} {
				_, err := s.Store.Append(t.Context(), ID("u"), -1, strings.NewReader("x"), at)
				ok(t, err)
			}
			up, err := s.Store.Upload(t.Context(), ID("u"))
			ok(t, err)
			equal(t, "active", up.Active, 12)
		}},
		{"whoever lists may stop", func(t *testing.T, s *Subject) {
			create(t, s.Store, ID("a"))
			create(t, s.Store, ID("b"))
			for _, err := range s.Store.Uploads(t.Context(), blobstore.UploadID{}) {
				ok(t, err)
				break
			}
		}},
	}
}

func uploads(t testing.TB, s blobstore.Store, after blobstore.UploadID) []blobstore.Upload {
	t.Helper()
	var all []blobstore.Upload
	for up, err := range s.Uploads(t.Context(), after) {
		ok(t, err)
		all = append(all, up)
	}
	return all
}
