package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// sum is an order-independent hash of a set of records: SHA-256 of each, added modulo 2^256. Adding
// and taking away cost one SHA-256, whatever the size of the set.
type sum [4]uint64

func (s *sum) add(o sum) {
	var c uint64
	for i := range s {
		s[i], c = bits.Add64(s[i], o[i], c)
	}
}

func (s *sum) sub(o sum) {
	var b uint64
	for i := range s {
		s[i], b = bits.Sub64(s[i], o[i], b)
	}
}

func (s sum) bytes() []byte {
	b := make([]byte, 0, 32)
	for _, v := range s {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func sumFrom(b []byte) (s sum) {
	for i := range s {
		s[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return s
}

// sumOf is the sum of one record. Lengths go before the parts, or two records could be cut differently.
func sumOf(b bucket, key, value []byte) sum {
	h := sha256.New()
	var n [4]byte
	for _, part := range [][]byte{[]byte(b), key, value} {
		binary.BigEndian.PutUint32(n[:], uint32(len(part))) //nolint:gosec // records are far smaller
		h.Write(n[:])
		h.Write(part)
	}
	return sumFrom(h.Sum(nil))
}
