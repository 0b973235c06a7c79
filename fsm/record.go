package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/fxamacker/cbor/v2"
)

// ErrDamaged is returned by View for a record whose checksum does not fit; in Apply it is a panic. bbolt
// has no checksums of its own, and a wrong record must neither be served nor built upon.
var ErrDamaged = errors.New("record does not match its checksum")

// codec is the one encoding of commands, results and records: CBOR in its core deterministic form
// (RFC 8949, 4.2.1), so that equal values are equal bytes on every node.
type codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCodec() codec {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, // a newer node's field must not be dropped in silence
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 17,
		MaxMapPairs:       1 << 17,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return codec{enc, dec}
}

// theCodec is made once; it is immutable.
var theCodec = newCodec() //nolint:gochecknoglobals // immutable, and part of the format rather than of a state

// encode panics only for types that CBOR cannot hold, which is a mistake in the program.
func encode(v any) []byte {
	b, err := theCodec.enc.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("encode %T: %w", v, err))
	}
	return b
}

func decode(b []byte, v any) error {
	if err := theCodec.dec.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	return nil
}

// seal puts a CRC32C of key and value before a record's value.
func seal(key, value []byte) []byte {
	b := make([]byte, 4, 4+len(value))
	binary.BigEndian.PutUint32(b, checksum(key, value))
	return append(b, value...)
}

// unseal returns the value of a sealed record, in the same memory; it panics if the sum is wrong.
func unseal(bucket bucket, key, sealed []byte) []byte {
	if len(sealed) < 4 || checksum(key, sealed[4:]) != binary.BigEndian.Uint32(sealed) {
		panic(fmt.Errorf("%w: %s/%x", ErrDamaged, bucket, key))
	}
	return sealed[4:]
}

// checksum relies on crc32.MakeTable, which makes the Castagnoli table once.
func checksum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, table), table, value)
}

// damagedPage makes ErrDamaged of a panic in bbolt: it has no other way to say that a page is not what
// it should be. It is to be deferred.
func damagedPage(bucket bucket) {
	p := recover()
	if p == nil {
		return
	}
	if damage := damageOf(p); damage != nil {
		panic(damage)
	}
	panic(fmt.Errorf("%w: bucket %s: %v", ErrDamaged, bucket, p))
}
