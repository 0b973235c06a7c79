package cluster

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
	"github.com/seed-16d79997/zot/fsm"
)

// newLog opens a log in a file; stop gets what would stop the node.
func newLog(t testing.TB, path string, stop func(error)) *logStore {
	t.Helper()
	s, err := openLogStore(path, fsm.SystemFiles(), true, time.Minute, stop)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// holding is a log that holds the entries from first to last, all of one term.
func holding(t testing.TB, first, last, term uint64) *logStore {
	t.Helper()
	s := newLog(t, filepath.Join(t.TempDir(), LogName), func(err error) { t.Error(err) })
	t.Cleanup(func() { _ = s.Close() }) // nothing of it is read again
	for i := first; i <= last; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: term, Data: []byte("entry")}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// A log that begins beyond the state is not thrown away: its entries may have been acknowledged, and it
// is the state that is old.
func TestLogBeyondTheStateIsALostDisk(t *testing.T) {
	for name, at := range map[string]struct {
		index uint64
		lost  bool
	}{
		"no state":             {0, true},
		"entries between":      {20, true},
		"one entry between":    {48, true},
		"the log goes on":      {49, false},
		"the log overlaps":     {55, false},
		"the state is further": {70, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := holding(t, 50, 59, 3)
			err := s.reconcile(at.index, 3)
			if errors.Is(err, ErrLostDisk) != at.lost || (err != nil && !at.lost) {
				t.Errorf("state at %d: %v", at.index, err)
			}
			if last, err := s.LastIndex(); at.lost && (err != nil || last != 59) {
				t.Errorf("the log ends at %d, %v", last, err)
			}
		})
	}
}

// An entry with any bit turned is read as it was, or stops the node: Raft would go on without it.
func TestDamagedEntryStopsTheNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), LogName)
	var stopped error
	s := newLog(t, path, func(err error) { stopped = err })
	defer s.Close() //nolint:errcheck // nothing of it is read again
	if err := s.StoreLog(&raft.Log{Index: 1, Term: 1, Data: []byte("abcdefgh")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole := entryBytes(t, path, nil)
	for at := range len(whole) * 8 {
		damaged := append([]byte(nil), whole...)
		damaged[at/8] ^= 1 << (at % 8)
		entryBytes(t, path, damaged)
		stopped = nil
		s = newLog(t, path, func(err error) { stopped = err })
		var got raft.Log
		err := s.GetLog(1, &got)
		if err != nil && stopped == nil {
			t.Errorf("byte %d, bit %d: the node goes on after %v", at/8, at%8, err)
		}
		if err == nil && string(got.Data) != "abcdefgh" {
			t.Errorf("byte %d, bit %d: read %q", at/8, at%8, got.Data)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// entryBytes returns the first entry of a log's file as it is written there, and replaces it unless
// with is nil.
func entryBytes(t testing.TB, path string, with []byte) (was []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("logs"))
		k, v := b.Cursor().First()
		was = append([]byte(nil), v...)
		if with == nil {
			return nil
		}
		return b.Put(append([]byte(nil), k...), with)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return was
}

// A log belongs to the incarnation that wrote it first: with another one's, a node would vote twice.
func TestLogOfAnotherIncarnationIsRefused(t *testing.T) {
	s := holding(t, 1, 1, 1)
	mine, other := entry.Incarnation{1}, entry.Incarnation{2}
	for range 2 {
		if err := s.claim(mine); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.claim(other); !errors.Is(err, ErrLostDisk) {
		t.Errorf("another's log: %v", err)
	}
}
