package fsm

import (
	"bytes"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// reader reads records of one consistent state.
type reader struct{ bolt *bbolt.Tx }

// get returns a record's value, nil if there is none. It is valid until the transaction ends.
func (r reader) get(b bucket, key []byte) []byte {
	defer damagedPage(b)
	sealed := r.bolt.Bucket([]byte(b)).Get(key)
	if sealed == nil {
		return nil
	}
	return unseal(b, key, sealed)
}

func (r reader) has(b bucket, key []byte) bool {
	defer damagedPage(b)
	return r.bolt.Bucket([]byte(b)).Get(key) != nil
}

// scan yields the records whose keys begin with prefix, in order, from the key at or after from
// (nil: from the first). The caller must not change the bucket meanwhile.
func (r reader) scan(b bucket, prefix, from []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		if bytes.Compare(from, prefix) < 0 {
			from = prefix
		}
		c := cursor{bucket: b}
		for k, v := c.seek(r, from); k != nil && bytes.HasPrefix(k, prefix); k, v = c.next() {
			if !yield(k, v) {
				return
			}
		}
	}
}

// cursor is bbolt's, with values unsealed.
type cursor struct {
	bucket bucket
	bolt   *bbolt.Cursor
}

func (c *cursor) seek(r reader, from []byte) (key, value []byte) {
	defer damagedPage(c.bucket)
	c.bolt = r.bolt.Bucket([]byte(c.bucket)).Cursor()
	return c.unseal(c.bolt.Seek(from))
}

func (c *cursor) next() (key, value []byte) {
	defer damagedPage(c.bucket)
	return c.unseal(c.bolt.Next())
}

func (c *cursor) unseal(key, sealed []byte) ([]byte, []byte) {
	if key == nil {
		return nil, nil
	}
	return key, unseal(c.bucket, key, sealed)
}

// countRecords counts a bucket's records up to limit.
func (r reader) countRecords(b bucket, limit int) int { return r.countPrefix(b, nil, limit) }

// countPrefix counts the records whose keys begin with prefix, up to limit.
func (r reader) countPrefix(b bucket, prefix []byte, limit int) int {
	n := 0
	for range r.scan(b, prefix, nil) {
		if n++; n == limit {
			break
		}
	}
	return n
}

// load returns the record at key as a T.
func load[T any](r reader, b bucket, key []byte) (T, bool) {
	value := r.get(b, key)
	if value == nil {
		var none T
		return none, false
	}
	return mustDecode[T](value), true
}

// mustDecode panics for a record that its checksum fits and that yet is no T: the program and the file
// do not belong together.
func mustDecode[T any](value []byte) T {
	var v T
	if err := decode(value, &v); err != nil {
		panic(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return v
}

// tx is what a command sees while it is applied: the state, changeable, and the entry's envelope.
type tx struct {
	reader
	now   entry.Time // state time of the entry
	date  int64      // its date, Unix milliseconds
	index uint64     // its log index
	term  uint64     // its term
	sums  map[bucket]*sum

	grown map[string]Used // by prefix, what the command has changed of it

	highest uint32   // feature level that this binary knows
	recount *recount // that of the State, if one is under way
	changed *changes // for the compaction that is under way
}

// put sets a record, keeping the bucket's sum (invariant 7). A storage error panics: a committed
// entry that cannot be applied must stop the node, never be skipped.
func (t *tx) put(b bucket, key, value []byte) {
	defer damagedPage(b)
	bk := t.bolt.Bucket([]byte(b))
	old := bk.Get(key)
	if old != nil {
		oldValue := unseal(b, key, old)
		if bytes.Equal(oldValue, value) {
			return
		}
		t.count(b, key, func(s *sum) { s.sub(sumOf(b, key, oldValue)) })
	}
	t.count(b, key, func(s *sum) { s.add(sumOf(b, key, value)) })
	t.changed.note(b, key)
	if err := bk.Put(bytes.Clone(key), seal(key, value)); err != nil {
		panic(err)
	}
}

// save puts v's encoding.
func (t *tx) save(b bucket, key []byte, v any) { t.put(b, key, encode(v)) }

// del removes a record, if there is one.
func (t *tx) del(b bucket, key []byte) {
	defer damagedPage(b)
	bk := t.bolt.Bucket([]byte(b))
	old := bk.Get(key)
	if old == nil {
		return
	}
	t.count(b, key, func(s *sum) { s.sub(sumOf(b, key, unseal(b, key, old))) })
	t.changed.note(b, key)
	if err := bk.Delete(key); err != nil {
		panic(err)
	}
}

// count changes the sum of b for a record's sake, unless b is local, which has none.
func (t *tx) count(b bucket, key []byte, change func(*sum)) {
	if b == local {
		return
	}
	change(t.sums[b])
	if t.recount.passed(b, key) {
		change(&t.recount.sum)
	}
}
