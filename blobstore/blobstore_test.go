package blobstore_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	const name = "00ff102030405060708090a0b0c0d0e0"
	for text, good := range map[string]bool{
		name:                  true,
		strings.ToUpper(name): false,
		name[1:]:              false,
		name + "0":            false,
		"../" + name[3:]:      false,
		"":                    false,
		name[:31] + "g":       false,
	} {
		c, err := blobstore.ParseCopyID(text)
		if (err == nil) != good || good && c.String() != text {
			t.Errorf("copy id %q: %s, %v", text, c, err)
		}
		u, err := blobstore.ParseUploadID(text)
		if (err == nil) != good || good && u.String() != text {
			t.Errorf("upload id %q: %s, %v", text, u, err)
		}
	}
	if a, b := blobstore.NewCopyID(), blobstore.NewCopyID(); a == b {
		t.Error("two copy ids are one")
	}
	if i := (blobstore.Incarnation{0xff}); i.String() != "ff"+strings.Repeat("0", 30) {
		t.Error(i)
	}
}

// FuzzIDs: an id has one name.
func FuzzIDs(f *testing.F) {
	f.Add("00ff102030405060708090a0b0c0d0e0")
	f.Add("00FF102030405060708090a0b0c0d0e0")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := blobstore.ParseCopyID(text); err == nil && c.String() != text {
			t.Errorf("%q is taken for %s", text, c)
		}
	})
}

func TestRanges(t *testing.T) {
	t.Parallel()
	const big = int64(^uint64(0) >> 1)
	for _, c := range []struct{ size, offset, length, end int64 }{
		{10, 0, -1, 10},
		{10, 3, -1, 10},
		{10, 10, -1, 10},
		{10, 10, 0, 10},
		{10, 3, 4, 7},
		{0, 0, -1, 0},
		{10, 11, -1, -1},
		{10, -1, 3, -1},
		{10, -1, -1, -1},
		{10, 3, 8, -1},
		{10, 3, big, -1},
		{10, big, 3, -1},
		{big, 1, big, -1},
	} {
		end, err := blobstore.Blob{Size: c.size}.End(c.offset, c.length)
		if c.end < 0 && !errors.Is(err, blobstore.ErrRange) || c.end >= 0 && (err != nil || end != c.end) {
			t.Errorf("%d bytes at %d of %d: %d, %v", c.length, c.offset, c.size, end, err)
		}
	}
}

func TestDigests(t *testing.T) {
	t.Parallel()
	for d, good := range map[digest.Digest]bool{
		digest.FromString("x"):          true,
		digest.SHA512.FromString("x"):   true,
		digest.SHA384.FromString("x"):   false,
		"sha256:" + digest.Digest("12"): false,
		"":                              false,
		":":                             false,
		"sha512":                        false,
	} {
		if err := blobstore.CheckDigest(d); (err == nil) != good || !good && !errors.Is(err, blobstore.ErrDigestUnsupported) {
			t.Errorf("%q: %v", d, err)
		}
	}
	h, err := blobstore.NewHash("")
	if err != nil || h.Size() != 32 {
		t.Error("the algorithm of no hint is not sha256")
	}
}

func TestErrorsSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	cut := io.ErrUnexpectedEOF
	for _, c := range []struct {
		err  error
		is   []error
		says string
	}{
		{&blobstore.OffsetError{Offset: 7}, []error{blobstore.ErrOffset}, "upload is at another offset: 7"},
		{&blobstore.MismatchError{Want: "a", Have: "b"}, []error{blobstore.ErrDigestMismatch}, "bytes do not match the digest a, they have b"},
		{&blobstore.DamageError{Chunk: 3, Cause: cut}, []error{blobstore.ErrCopyDamaged, cut}, "copy 00000000000000000000000000000000 is damaged: chunk 3: unexpected EOF"},
		{&blobstore.DamageError{Chunk: blobstore.WholeCopy, Cause: cut}, []error{blobstore.ErrCopyDamaged, cut}, "copy 00000000000000000000000000000000 is damaged: unexpected EOF"},
	} {
		for _, want := range c.is {
			if !errors.Is(c.err, want) {
				t.Errorf("%v is not %v", c.err, want)
			}
		}
		if errors.Is(c.err, blobstore.ErrOffline) || c.err.Error() != c.says {
			t.Errorf("%q, want %q", c.err, c.says)
		}
	}
}
