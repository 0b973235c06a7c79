package disk

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore"
)

// errRecord is a file of this package that does not read as what it should be.
var errRecord = errors.New("not what was written")

// copySums is what lies beside a copy of more than one chunk. It names the copy, its digest and its size, so
// that sums of other bytes are never taken for its own, and bytes can be verified where nothing else is
// known of them.
type copySums struct {
	id     blobstore.CopyID
	digest digest.Digest
	size   int64
	sums   []uint32
}

// The first bytes of the two kinds of records; the digit is their version.
const (
	sumsMagic  = "blobsum1"
	stateMagic = "blobupl1"
)

func (c copySums) encode() ([]byte, error) {
	raw, err := hex.DecodeString(c.digest.Encoded())
	if err != nil {
		return nil, err
	}
	b := append([]byte(sumsMagic), c.id[:]...)
	b = append(b, algorithmByte(c.digest.Algorithm()))
	b = append(b, raw...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.size)) //nolint:gosec // a size is not negative
	return seal(appendSums(b, c.sums)), nil
}

// decodeSums returns errRecord for all that encode does not make.
func decodeSums(b []byte) (c copySums, err error) {
	in, err := unseal(b, sumsMagic)
	if err != nil {
		return c, err
	}
	copy(c.id[:], in.take(len(c.id)))
	algorithm, size := algorithmOf(in.byte())
	c.digest = digest.NewDigestFromBytes(algorithm, in.take(size))
	c.size = in.int64()
	c.sums = in.sums(chunksOf(c.size))
	if algorithm == "" || c.size <= blobstore.ChunkSize {
		in.bad = true
	}
	return c, in.err()
}

// record is what remains to be read of one.
type record struct {
	b   []byte
	bad bool // it was shorter than it had to be, or said what cannot be
}

// seal adds the check sum of all that is in a record.
func seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func unseal(b []byte, magic string) (*record, error) {
	end := len(b) - 4
	if end < len(magic) || string(b[:len(magic)]) != magic || binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli()) {
		return nil, fmt.Errorf("%w: %d bytes without a valid check sum", errRecord, len(b))
	}
	return &record{b: b[len(magic):end]}, nil
}

// take returns the next n bytes, zeros if there are no more.
func (r *record) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return make([]byte, n)
	}
	var p []byte
	p, r.b = r.b[:n], r.b[n:]
	return p
}

func (r *record) byte() byte { return r.take(1)[0] }

func (r *record) int64() int64 {
	n := int64(binary.BigEndian.Uint64(r.take(8))) //nolint:gosec // a negative one is seen
	r.bad = r.bad || n < 0
	return n
}

// sums returns n sums, which must be all that is left.
func (r *record) sums(n int64) []uint32 {
	if r.bad || n != int64(len(r.b))/4 {
		r.bad = true
		return nil
	}
	sums := make([]uint32, n)
	for i := range sums {
		sums[i] = binary.BigEndian.Uint32(r.take(4))
	}
	return sums
}

func (r *record) err() error {
	if r.bad || len(r.b) > 0 {
		return errRecord
	}
	return nil
}

func appendSums(b []byte, sums []uint32) []byte {
	for _, sum := range sums {
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	return b
}

// Algorithms as they stand in records.
func algorithmByte(a digest.Algorithm) byte {
	if a == digest.SHA512 {
		return 2
	}
	return 1
}

// algorithmOf returns an algorithm and how long its digests are; "" for a byte that stands for none.
func algorithmOf(b byte) (digest.Algorithm, int) {
	switch b {
	case 1:
		return digest.SHA256, 32
	case 2:
		return digest.SHA512, 64
	default:
		return "", 0
	}
}

// readSums returns the sums beside a copy. The error is a *blobstore.DamageError if they are not there, or
// not its own.
func (s *Store) readSums(id blobstore.CopyID, d digest.Digest, size int64) ([]uint32, error) {
	limit := 256 + 4*chunksOf(size)
	b, err := readFile(s.files, copyName(id)+sumsSuffix, limit)
	if err != nil {
		return nil, s.damaged(id, blobstore.WholeCopy, fmt.Errorf("read sums: %w", err))
	}
	c, err := decodeSums(b)
	if err == nil && (c.id != id || c.digest != d || c.size != size) {
		err = fmt.Errorf("%w: they are of %s of copy %s", errRecord, c.digest, c.id)
	}
	if err != nil {
		return nil, s.damaged(id, blobstore.WholeCopy, fmt.Errorf("sums: %w", err))
	}
	return c.sums, nil
}
