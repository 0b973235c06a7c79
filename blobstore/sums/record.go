package sums

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/opencontainers/go-digest"
)

// ErrRecord is a record that does not read as what it should be.
var ErrRecord = errors.New("not what was written")

// Record is what remains to be read of one.
type Record struct {
	Bad bool // it was shorter than it had to be, or said what cannot be

	b []byte
}

// Seal adds the check sum of all that is in a record.
func Seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

// Unseal opens a record that begins with magic. It returns ErrRecord unless its check sum is right.
func Unseal(b []byte, magic string) (*Record, error) {
	end := len(b) - 4
	if end < len(magic) || string(b[:len(magic)]) != magic || binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli()) {
		return nil, fmt.Errorf("%w: %d bytes without a valid check sum", ErrRecord, len(b))
	}
	return &Record{b: b[len(magic):end]}, nil
}

// Take returns the next n bytes, zeros if there are no more.
func (r *Record) Take(n int) []byte {
	if n > len(r.b) {
		r.b, r.Bad = nil, true
		return make([]byte, n)
	}
	var p []byte
	p, r.b = r.b[:n], r.b[n:]
	return p
}

// Byte returns the next byte.
func (r *Record) Byte() byte { return r.Take(1)[0] }

// Int64 returns the next eight bytes, which must not be negative.
func (r *Record) Int64() int64 {
	n := int64(binary.BigEndian.Uint64(r.Take(8))) //nolint:gosec // a negative one is seen
	r.Bad = r.Bad || n < 0
	return n
}

// Sums returns n sums, which must be all that is left.
func (r *Record) Sums(n int64) []uint32 {
	if r.Bad || n != int64(len(r.b))/4 {
		r.Bad = true
		return nil
	}
	sums := make([]uint32, n)
	for i := range sums {
		sums[i] = binary.BigEndian.Uint32(r.Take(4))
	}
	return sums
}

// Err returns ErrRecord unless all was read and could be.
func (r *Record) Err() error {
	if r.Bad || len(r.b) > 0 {
		return ErrRecord
	}
	return nil
}

// Append adds sums to a record.
func Append(b []byte, sums []uint32) []byte {
	for _, sum := range sums {
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	return b
}

// AlgorithmByte is an algorithm as it stands in records.
func AlgorithmByte(a digest.Algorithm) byte {
	if a == digest.SHA512 {
		return 2
	}
	return 1
}

// AlgorithmOf returns an algorithm and how long its digests are; "" for a byte that stands for none.
func AlgorithmOf(b byte) (digest.Algorithm, int) {
	switch b {
	case 1:
		return digest.SHA256, 32
	case 2:
		return digest.SHA512, 64
	default:
		return "", 0
	}
}
