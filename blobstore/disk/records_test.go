package disk_test

import (
	"bytes"
	"testing"

	"github.com/seed-16d79997/zot/blobstore"
	"github.com/seed-16d79997/zot/blobstore/disk"
)

// FuzzMarker: what is taken is what would be written.
func FuzzMarker(f *testing.F) {
	good := disk.EncodeMarker(blobstore.Incarnation{1, 2, 3}, "/a")
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(good, '\n'))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if i, name, err := disk.DecodeMarker(b); err == nil && !bytes.Equal(disk.EncodeMarker(i, name), b) {
			t.Errorf("%q is taken for the marker of %s", b, i)
		}
	})
}

// FuzzState: whatever is left of the file, there is a sum for each chunk of what it says is there.
func FuzzState(f *testing.F) {
	good := disk.SampleState(blobstore.UploadID{7}, 0, 10, 3*blobstore.ChunkSize, 5*blobstore.ChunkSize+1)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good[50:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if size, fit, _, err := disk.DecodeState(b); err == nil && !fit {
			t.Errorf("sums do not fit %d bytes", size)
		}
	})
}

// TestStateFolds: each record adds to those before, and what is torn is passed over.
func TestStateFolds(t *testing.T) {
	t.Parallel()
	sizes := []int64{0, 10, blobstore.ChunkSize, blobstore.ChunkSize + 9, 3 * blobstore.ChunkSize, 9*blobstore.ChunkSize + 1}
	var ends []int
	for i := range sizes {
		ends = append(ends, len(disk.SampleState(blobstore.UploadID{7}, sizes[:i+1]...)))
	}
	whole := disk.SampleState(blobstore.UploadID{7}, sizes...)
	for n := range len(whole) + 1 {
		size, _, counts, err := disk.DecodeState(whole[:n])
		last := -1
		for i, end := range ends {
			if n >= end {
				last = i
			}
		}
		if last < 0 {
			if err == nil {
				t.Errorf("%d bytes are taken for a record", n)
			}
			continue
		}
		if err != nil || size != sizes[last] || !counts {
			t.Errorf("%d bytes say %d (sums right: %t), %v; want %d", n, size, counts, err, sizes[last])
		}
	}
}

// TestFlippedBitsInRecords: no flipped bit is taken for another truth.
func TestFlippedBitsInRecords(t *testing.T) {
	t.Parallel()
	marker := disk.EncodeMarker(blobstore.Incarnation{1}, "default")
	state := disk.SampleState(blobstore.UploadID{7}, 3*blobstore.ChunkSize)
	for bit := range 8 * max(len(marker), len(state)) {
		if b := flipped(marker, bit); b != nil {
			if _, _, err := disk.DecodeMarker(b); err == nil {
				t.Errorf("marker with bit %d flipped is taken", bit)
			}
		}
		if b := flipped(state, bit); b != nil {
			if _, _, _, err := disk.DecodeState(b); err == nil {
				t.Errorf("state with bit %d flipped is taken", bit)
			}
		}
	}
}

func flipped(b []byte, bit int) []byte {
	if bit >= 8*len(b) {
		return nil
	}
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}
