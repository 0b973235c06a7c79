package sums_test

import (
	"bytes"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/sums"
)

// FuzzCopy: what is taken is what would be written.
func FuzzCopy(f *testing.F) {
	const size = 5*blobstore.ChunkSize - 1
	for _, d := range []digest.Digest{digest.FromString("x"), digest.SHA512.FromString("x")} {
		good, err := sums.Copy{Copy: blobstore.CopyID{7}, Digest: d, Size: size, Sums: make([]uint32, sums.Chunks(size))}.Encode()
		if err != nil {
			f.Fatal(err)
		}
		if int64(len(good)) > sums.Limit(size) {
			f.Fatalf("%d bytes are more than the limit", len(good))
		}
		f.Add(good)
		f.Add(good[:len(good)-4])
		f.Add(good[:20])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := sums.Decode(b)
		if err != nil {
			return
		}
		if again, err := c.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is taken, and written as %x (%v)", b, again, err)
		}
	})
}

// A tally does not depend on how the bytes come.
func TestTally(t *testing.T) {
	t.Parallel()
	p := bytes.Repeat([]byte("0123456789"), blobstore.ChunkSize/4)
	for _, piece := range []int{1000, blobstore.ChunkSize, blobstore.ChunkSize + 1, len(p)} {
		have, err := sums.NewTally("")
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(p); at += piece {
			have.Add(p[at:min(len(p), at+piece)])
		}
		if have.Digest() != digest.FromBytes(p) || have.Size != int64(len(p)) || int64(len(have.Sums)) != sums.Chunks(have.Size) {
			t.Fatalf("in pieces of %d bytes: %s, %d bytes, %d sums", piece, have.Digest(), have.Size, len(have.Sums))
		}
		for i, sum := range have.Sums {
			if chunk := p[i*blobstore.ChunkSize : min(len(p), (i+1)*blobstore.ChunkSize)]; sums.Of(chunk) != sum {
				t.Fatalf("in pieces of %d bytes: the sum of chunk %d is wrong", piece, i)
			}
		}
	}
}

// No flipped bit is taken for another truth.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	good, err := sums.Copy{Copy: blobstore.CopyID{7}, Digest: digest.FromString("x"), Size: 3 * blobstore.ChunkSize, Sums: []uint32{1, 2, 3}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(good) {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := sums.Decode(b); err == nil {
			t.Errorf("sums with bit %d flipped are taken", bit)
		}
	}
}
