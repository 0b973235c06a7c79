package fsm

import (
	"encoding/binary"
	"time"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// keepResults is how long, in state time, the result of a command is kept for its retries.
const keepResults = 10 * time.Minute

// forgetAtOnce bounds how many kept results one entry removes, so that no entry is slow. It is more
// than one, so that removal keeps up with any rate.
const forgetAtOnce = 16

// kept is the result of a request.
type kept struct {
	Outcome entry.Outcome `cbor:"1,keyasint"`
	Bytes   []byte        `cbor:"2,keyasint,omitempty"`
}

// span is how old a first try may be, and how long its result is kept. They differ only while a
// store's numbers change (DESIGN 2, "Stores and numbers"): the first is then the smaller, the second
// the larger, so that what is forgotten can never be replayed.
type span struct{ accept, keep time.Duration }

func (t *tx) horizon(c Command) span {
	if l, ok := c.(leased); ok {
		if w, ok := t.window(l.leaseStore()); ok {
			return w
		}
	}
	return span{keepResults, keepResults}
}

// remembered answers a retry: with the kept result, or with Expired if the first try is too old to
// tell. A first try in the future is one made before the restore of a backup: nothing is known of it.
func (t *tx) remembered(id entry.RequestID, h span) (entry.Result, bool) {
	if id.IsZero() {
		return entry.Result{}, false
	}
	if id.FirstTry > t.now || t.now.Sub(id.FirstTry) > h.accept {
		return entry.Result{Outcome: entry.Expired}, true
	}
	k, ok := load[kept](t.reader, requests, requestKey(id))
	return entry.Result{Outcome: k.Outcome, Bytes: k.Bytes}, ok
}

func (t *tx) remember(id entry.RequestID, r entry.Result, h span) {
	if id.IsZero() {
		return
	}
	key := requestKey(id)
	t.save(requests, key, kept{r.Outcome, r.Bytes})
	t.put(expiries, append(timeKey(t.now.Add(h.keep)), key...), nil)
}

// forget removes results that no first try could still ask for.
func (t *tx) forget() {
	var gone [][]byte
	for k := range t.scan(expiries, nil, nil) {
		if entry.Time(binary.BigEndian.Uint64(k)) >= t.now || len(gone) == forgetAtOnce { //nolint:gosec // written by timeKey
			break
		}
		gone = append(gone, append([]byte(nil), k...))
	}
	for _, k := range gone {
		t.del(expiries, k)
		t.del(requests, k[8:])
	}
}

func timeKey(t entry.Time) []byte { return binary.BigEndian.AppendUint64(nil, uint64(t)) } //nolint:gosec // state time is not negative

func requestKey(id entry.RequestID) []byte {
	k := append([]byte(nil), id.Incarnation[:]...)
	k = binary.BigEndian.AppendUint64(k, id.Random)
	return binary.BigEndian.AppendUint64(k, id.Sequence)
}
