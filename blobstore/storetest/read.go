package storetest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

func reading() []rule {
	return []rule{
		{"any range", func(t *testing.T, s *Subject) {
			for _, n := range []int{0, 1, little, chunk, chunk + 1, much} {
				p := Bytes(n, n)
				b := Store(t, s.Store, "r"+string(rune('a'+n%26)), p)
				for _, from := range edges(n) {
					for _, to := range edges(n) {
						if from > to {
							continue
						}
						have, err := read(t.Context(), s.Store, b, from, to-from)
						ok(t, err)
						if !bytes.Equal(have, p[from:to]) {
							t.Fatalf("bytes %d to %d of %d are wrong", from, to, n)
						}
					}
				}
				have, err := read(t.Context(), s.Store, b, int64(n/2), -1)
				ok(t, err)
				equal(t, "the rest", len(have), n-n/2)
			}
		}},
		{"no range outside", func(t *testing.T, s *Subject) {
			b := Store(t, s.Store, "u", Bytes(1, much))
			const big = int64(^uint64(0) >> 1)
			for _, r := range [][2]int64{{-1, 1}, {much + 1, 0}, {much + 1, -1}, {much, 1}, {0, much + 1}, {big, big}, {1, big}, {big, -1}} {
				_, err := s.Store.Open(t.Context(), b, r[0], r[1])
				is(t, err, blobstore.ErrRange)
			}
		}},
		{"a stream keeps to the rules of readers", func(t *testing.T, s *Subject) {
			for i, n := range []int{little, much} {
				p := Bytes(i, n)
				b := Store(t, s.Store, string(rune('a'+i)), p)
				r, err := s.Store.Open(t.Context(), b, 0, -1)
				ok(t, err)
				ok(t, iotest.TestReader(onlyReader{r}, p))
				ok(t, r.Close())
			}
		}},
		{"a stream writes itself", func(t *testing.T, s *Subject) {
			for i, n := range []int{little, chunk + 1, much} {
				p := Bytes(i, n)
				b := Store(t, s.Store, string(rune('a'+i)), p)
				for _, w := range []interface {
					io.Writer
					Bytes() []byte
				}{new(bytes.Buffer), &plain{}} {
					r, err := s.Store.Open(t.Context(), b, 0, -1)
					ok(t, err)
					var first [10]byte
					_, err = io.ReadFull(r, first[:])
					ok(t, err)
					m, err := r.WriteTo(w)
					ok(t, err)
					equal(t, "written", m, int64(n-10))
					if !bytes.Equal(w.Bytes(), p[10:]) {
						t.Fatalf("%d bytes of %d came out wrong", len(w.Bytes()), n)
					}
					ok(t, r.Close())
				}
			}
		}},
		{"an error of the writer ends it", func(t *testing.T, s *Subject) {
			b := Store(t, s.Store, "u", Bytes(1, much))
			gone := errors.New("client is gone")
			r, err := s.Store.Open(t.Context(), b, 0, -1)
			ok(t, err)
			_, err = r.WriteTo(writerFunc(func([]byte) (int, error) { return 0, gone }))
			is(t, err, gone)
			ok(t, r.Close())
		}},
		{"a copy that is not here is unknown", func(t *testing.T, s *Subject) {
			p := Bytes(1, little)
			b := Store(t, s.Store, "u", p)
			for name, at := range map[string][]blobstore.Location{
				"nowhere":   nil,
				"elsewhere": {{Incarnation: blobstore.Incarnation{0xfe}, Copy: own(t, s.Store, b)}},
				"no copy":   {{Incarnation: s.Store.Incarnation(), Copy: blobstore.CopyID{0xfe}}},
			} {
				_, err := s.Store.Open(t.Context(), blob(p, at), 0, -1)
				if !errors.Is(err, blobstore.ErrCopyUnknown) {
					t.Errorf("open %s: %v", name, err)
				}
				if err := s.Store.Verify(t.Context(), blob(p, at), nil); !errors.Is(err, blobstore.ErrCopyUnknown) {
					t.Errorf("verify %s: %v", name, err)
				}
			}
			_, err := s.Store.Open(t.Context(), blobstore.Blob{Digest: "sha256:12", Size: b.Size, Locations: b.Locations}, 0, -1)
			is(t, err, blobstore.ErrDigestUnsupported)
		}},
		{"a stream outlives the copy", func(t *testing.T, s *Subject) {
			p := Bytes(2, much)
			b := Store(t, s.Store, "u", p)
			r, err := s.Store.Open(t.Context(), b, 0, -1)
			ok(t, err)
			ok(t, s.Store.RemoveCopies(t.Context(), own(t, s.Store, b)))
			have, err := io.ReadAll(r)
			ok(t, errors.Join(err, r.Close()))
			equal(t, "all of it", bytes.Equal(have, p), true)
		}},
	}
}

// edges returns offsets where something may go wrong.
func edges(n int) []int64 {
	var all []int64
	for _, at := range []int{0, 1, little / 2, chunk - 1, chunk, chunk + 1, 2 * chunk, n - 1, n} {
		if at >= 0 && at <= n {
			all = append(all, int64(at))
		}
	}
	return all
}

// onlyReader hides WriteTo.
type onlyReader struct{ io.Reader }

// plain is a buffer without ReadFrom.
type plain struct{ b []byte }

// Write appends.
func (p *plain) Write(b []byte) (int, error) { p.b = append(p.b, b...); return len(b), nil }

// Bytes are what was written.
func (p *plain) Bytes() []byte { return p.b }

type writerFunc func(p []byte) (int, error)

// Write calls the function.
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func damaging() []rule {
	rot := func(t *testing.T, s *Subject, n int, at int64) (blobstore.Blob, []byte) {
		t.Helper()
		if s.Damage == nil {
			t.Skip("the store has nothing that rots")
		}
		p := Bytes(7, n)
		b := Store(t, s.Store, "u", p)
		s.Damage(t, own(t, s.Store, b), at)
		return b, p
	}
	places := []struct {
		name string
		size int
		at   int64
	}{
		{"in a single chunk", little, 17}, {"in the first chunk", much, 17}, {"in a middle chunk", much, chunk + 5}, {"in the last byte", much, much - 1},
	}
	var rules []rule
	for _, c := range places {
		rules = append(
			rules, rule{"a flipped bit " + c.name + " is never sent", func(t *testing.T, s *Subject) {
				b, p := rot(t, s, c.size, c.at)
				have, err := read(t.Context(), s.Store, b, 0, -1)
				isDamage(t, err, own(t, s.Store, b))
				if !bytes.HasPrefix(p, have) || int64(len(have)) > c.at {
					t.Fatalf("%d bytes came before the error, and not all are right", len(have))
				}
				var out bytes.Buffer
				if r, err := s.Store.Open(t.Context(), b, 0, -1); err == nil {
					_, err = r.WriteTo(&out)
					isDamage(t, err, own(t, s.Store, b))
					ok(t, r.Close())
				}
				if !bytes.HasPrefix(p, out.Bytes()) || int64(out.Len()) > c.at {
					t.Fatalf("%d bytes were written before the error, and not all are right", out.Len())
				}
				_, err = read(t.Context(), s.Store, b, c.at, 1)
				isDamage(t, err, own(t, s.Store, b))
			}},
			rule{"a flipped bit " + c.name + " is found by Verify", func(t *testing.T, s *Subject) {
				b, _ := rot(t, s, c.size, c.at)
				isDamage(t, s.Store.Verify(t.Context(), b, nil), own(t, s.Store, b))
			}},
		)
	}
	return append(rules, rule{"a copy of other bytes is damaged, not served", func(t *testing.T, s *Subject) {
		for i, n := range []int{little, much} {
			b := Store(t, s.Store, string(rune('a'+i)), Bytes(1, n))
			for what, wrong := range map[string]blobstore.Blob{
				"digest": {Digest: digest.FromString("else"), Size: b.Size, Locations: b.Locations},
				"size":   {Digest: b.Digest, Size: b.Size - 1, Locations: b.Locations},
			} {
				if _, err := read(t.Context(), s.Store, wrong, 0, -1); !errors.Is(err, blobstore.ErrCopyDamaged) {
					t.Errorf("another %s: %v", what, err)
				}
				if err := s.Store.Verify(t.Context(), wrong, nil); !errors.Is(err, blobstore.ErrCopyDamaged) {
					t.Errorf("verify another %s: %v", what, err)
				}
			}
			whole(t, s.Store, b, Bytes(1, n))
		}
	}})
}

func isDamage(t *testing.T, err error, id blobstore.CopyID) {
	t.Helper()
	is(t, err, blobstore.ErrCopyDamaged)
	var d *blobstore.DamageError
	if !errors.As(err, &d) || d.Copy != id {
		t.Fatalf("%v does not name copy %s", err, id)
	}
	if errors.Is(err, io.EOF) {
		t.Fatalf("%v can be taken for the regular end", err)
	}
}
