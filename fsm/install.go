package fsm

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// ErrNotStaged is returned by Install when no whole snapshot is staged.
var ErrNotStaged = errors.New("no snapshot is staged")

// Install makes the staged snapshot the current state, marked with stamp. Views and snapshots of the
// old one stay valid until they are closed. A crash at any moment leaves the old state or the new one,
// whole.
//
// It fails with ErrNotStaged, with ErrBusy while Stage runs, and if the snapshot holds entries past
// stamp's index or the disk fails; the old state stays current then, and nothing is staged. It panics
// if the disk fails after the new state has taken the old one's place.
func (s *State) Install(stamp entry.Stamp) error {
	if !s.staging.TryLock() {
		return fmt.Errorf("install a snapshot: %w", ErrBusy)
	}
	defer s.staging.Unlock()
	if !s.staged {
		return ErrNotStaged
	}
	s.staged = false
	defer s.barCompaction(errArrives)() // it copies the old state
	s.writing.Lock()
	defer s.writing.Unlock()
	s.recount = nil // it counts the old state
	if err := s.installStaged(stamp); err != nil {
		return fmt.Errorf("install a snapshot: %w", errors.Join(err, s.clearStage()))
	}
	return nil
}

func (s *State) installStaged(stamp entry.Stamp) error {
	db, err := openDatabase(s.stagePath(), s.config.NoSync)
	if err != nil {
		return err
	}
	after, err := s.stampDatabase(db, stamp)
	if err == nil {
		err = s.makeCurrent() // db is open already: nothing can fail from here on
	}
	if err != nil {
		return errors.Join(err, db.close())
	}
	s.replace(db, after)
	return nil
}

// stampDatabase makes the state of another node this node's own.
func (s *State) stampDatabase(db *database, stamp entry.Stamp) (after memory, err error) {
	defer func() { err = orDamaged(recover(), err) }()
	err = db.update(func(bolt *bbolt.Tx) error {
		if err := fitBuckets(bolt); err != nil {
			return err
		}
		b := s.openBatch(bolt)
		// Raft's numbers and the bytes come from one transaction of the sender: others are another snapshot's.
		if b.position.Index != stamp.Index || b.position.Term != stamp.Term {
			return fmt.Errorf("the snapshot ends with entry %d of term %d, its stamp says %d of term %d",
				b.position.Index, b.position.Term, stamp.Index, stamp.Term)
		}
		b.clearLocal()
		b.tx.put(local, keyIncarnation, s.config.Incarnation[:])
		b.position = entry.Position{
			Index: stamp.Index, Term: stamp.Term, Time: b.position.Time,
			Configuration: stamp.Configuration, ConfigurationIndex: stamp.ConfigurationIndex,
		}
		after = b.close()
		return nil
	})
	return after, err
}

// fitBuckets makes the buckets of an older snapshot those of this binary; checkState has seen that the
// ones it drops are empty.
func fitBuckets(bolt *bbolt.Tx) error {
	var strange [][]byte
	err := strangeBuckets(bolt, func(name []byte, _ *bbolt.Bucket) error {
		strange = append(strange, bytes.Clone(name))
		return nil
	})
	for _, name := range strange {
		err = errors.Join(err, bolt.DeleteBucket(name))
	}
	for _, b := range append(replicated(), local) {
		_, made := bolt.CreateBucketIfNotExists([]byte(b))
		err = errors.Join(err, made)
	}
	return err
}

// clearLocal removes what the node that sent a snapshot had noted for itself. The position and the sums
// are written anew when the batch is closed.
func (b *batch) clearLocal() {
	var keys [][]byte
	for k := range b.tx.scan(local, nil, nil) {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		b.tx.del(local, k)
	}
	b.fenced = ""
}
