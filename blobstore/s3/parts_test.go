package s3_test

import (
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/s3"
)

// 10,000 parts hold 5 TiB, whatever the size of the first; none but the last is smaller than 5 MiB or larger than 5 GiB.
func TestPartSizes(t *testing.T) {
	t.Parallel()
	for _, asked := range []int64{0, 1, 5 << 20, s3.MinPartSize, s3.MinPartSize + 1, 10 << 20, 100<<20 + 1, 5 << 30, 1 << 40} {
		var total, last int64
		for n := range s3.MaxParts {
			size := s3.PartSize(asked, n)
			switch {
			case size < 5<<20 || size > s3.MaxPartSize:
				t.Fatalf("part %d of those that begin with %d has %d bytes", n, asked, size)
			case size%blobstore.ChunkSize != 0:
				t.Fatalf("part %d of those that begin with %d has half a chunk: %d bytes", n, asked, size)
			case n%1000 == 0 && n > 0 && size != min(2*last, s3.MaxPartSize), n%1000 != 0 && size != last:
				t.Fatalf("part %d of those that begin with %d has %d bytes, the one before it %d", n, asked, size, last)
			}
			total, last = total+size, size
		}
		if total < 5<<40 {
			t.Errorf("parts that begin with %d hold %d bytes", asked, total)
		}
	}
	if have := s3.PartSize(10<<20, 0); have != 10<<20 {
		t.Errorf("10 MiB became %d", have)
	}
}
