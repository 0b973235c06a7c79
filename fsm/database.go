package fsm

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// mmapSize is how much address space the file is mapped into at once. Growing the map needs every
// reader gone, so a long read would stop all writes; address space costs nothing.
const mmapSize = 8 << 30

// database is an open file with a count of its users, so that a restore can put another in its place
// while views of the old one are still open.
type database struct {
	bolt  *bbolt.DB
	file  *os.File // bbolt's own handle, for reading at an offset
	users int      // guarded by State.mu; the State itself is one while the database is current

	// broken is set when a change ended in a panic. bbolt may then hold its lock for ever: nothing may
	// ask for that again, not even to close.
	broken atomic.Bool
}

func openDatabase(path string, noSync bool) (db *database, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { err = orDamaged(recover(), err) }()
	db = &database{users: 1}
	db.bolt, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         5 * time.Second,
		NoSync:          noSync,
		NoFreelistSync:  false, // opening must not scan the file
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mmapSize,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			db.file, err = os.OpenFile(name, flag, mode) //nolint:gosec // below Config.Dir
			return db.file, err
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

// update runs fn as a durable transaction. It fails with ErrDamaged for a panic that a damaged file
// caused, and lets others pass.
func (db *database) update(fn func(bolt *bbolt.Tx) error) (err error) {
	if db.broken.Load() {
		return fmt.Errorf("%w: an earlier change ended half way", ErrDamaged)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			db.broken.Store(true)
			if err = damageOf(p); err == nil {
				panic(p)
			}
		}
	}()
	return db.bolt.Update(fn)
}

// close waits for open transactions.
func (db *database) close() error {
	if db.broken.Load() {
		return fmt.Errorf("%w: left open", ErrDamaged)
	}
	return db.bolt.Close()
}

// create makes the file of an empty state under the name of a staged one and then renames it: a power
// cut while bbolt writes its first pages would leave a file that never opens again.
func (s *State) create() error {
	if _, err := os.Stat(s.path()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := openDatabase(s.stagePath(), s.config.NoSync)
	if err != nil {
		return err
	}
	if err := errors.Join(s.initialise(db), db.close()); err != nil {
		return fmt.Errorf("make an empty state: %w", err)
	}
	return s.makeCurrent()
}

// initialise gives a database the buckets that it lacks and this directory's incarnation. It fails if
// it has another one, or a feature level that this binary does not know.
func (s *State) initialise(db *database) (err error) {
	defer func() { err = orDamaged(recover(), err) }()
	return db.update(func(bolt *bbolt.Tx) error {
		for _, b := range append(replicated(), local) {
			if _, err := bolt.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		b := s.openBatch(bolt)
		if have := b.tx.get(local, keyIncarnation); have != nil && string(have) != string(s.config.Incarnation[:]) {
			return fmt.Errorf("the state belongs to incarnation %x, not to %s", have, s.config.Incarnation)
		}
		if err := knownLevel(b.tx.level()); err != nil {
			return err
		}
		b.tx.put(local, keyIncarnation, s.config.Incarnation[:])
		s.mem = b.close()
		return nil
	})
}

// makeCurrent puts the staged file in the place of the current one. When it returns an error nothing
// has changed; it panics if the rename was done and may not last, for then nobody knows which of the
// two a restart will find.
func (s *State) makeCurrent() error {
	placed, err := s.putInPlace(s.stagePath())
	if placed && err != nil {
		panic(err)
	}
	return err
}

// putInPlace gives a file the name of the current one. An error after it was placed says that this may not
// last.
func (s *State) putInPlace(path string) (placed bool, err error) {
	if err := s.files.Sync(path); err != nil {
		return false, fmt.Errorf("sync %s: %w", path, err)
	}
	if err := s.files.Rename(path, s.path()); err != nil {
		return false, fmt.Errorf("make %s current: %w", s.path(), err)
	}
	if err := s.files.SyncDir(s.config.Dir); err != nil {
		return true, fmt.Errorf("a new %s is in place, but may be gone after a power cut: %w", s.path(), err)
	}
	return true, nil
}

// Advance says that everything up to a log index is in the state, although the entries at its end were
// none that a state machine is given (a new leader's no-op). It never goes back.
//
// It fails if that cannot be made durable.
func (s *State) Advance(index, term uint64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.change(func(b *batch) {
		if index > b.position.Index {
			b.position.Index, b.position.Term = index, term
		}
	})
}

// fence makes this node neither serve nor vote any more, whatever else fails, for what was found in db.
// If that was replaced since, nothing is wrong.
func (s *State) fence(db *database, reason string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.isCurrent(db) {
		return
	}
	if err := s.noteFence(reason); err != nil {
		s.log.Error("fence will not last over a restart", "error", err)
		m := s.memory()
		m.fenced = reason
		s.publish(m)
	}
}

func (s *State) noteFence(reason string) (err error) {
	defer func() { err = orDamaged(recover(), err) }()
	return s.change(func(b *batch) { b.fence(reason) })
}

// change runs fn as a transaction of its own and makes it visible. The caller holds writing.
func (s *State) change(fn func(b *batch)) error {
	db := s.acquire()
	if db == nil {
		return ErrClosed
	}
	defer s.release(db)
	var after memory
	err := db.update(func(bolt *bbolt.Tx) error {
		b := s.openBatch(bolt)
		fn(b)
		after = b.close()
		return nil
	})
	if err == nil {
		s.publish(after)
	}
	return err
}

// acquire pins the current database, nil after Close; release undoes it and closes one that is no
// longer current.
func (s *State) acquire() *database {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.users++
	}
	return s.current
}

func (s *State) isCurrent(db *database) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current == db
}

func (s *State) release(db *database) {
	s.mu.Lock()
	db.users--
	last := db.users == 0
	s.mu.Unlock()
	if last {
		if err := db.close(); err != nil {
			s.log.Warn("close of a replaced state failed", "error", err)
		}
	}
}

// replace makes db, which is in place on disk, the one that is read and written from now on. Views of
// the old one stay valid until they end.
func (s *State) replace(db *database, m memory) {
	s.mu.Lock()
	old := s.current
	s.current, s.mem = db, m
	s.mu.Unlock()
	s.release(old)
}

// publish makes a committed batch visible to those who ask memory.
func (s *State) publish(m memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.fenced != "" && s.mem.fenced == "" {
		s.log.Error("node is fenced", "reason", m.fenced)
	}
	s.mem = m
}

func (s *State) memory() memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mem
}

// memory is what every request asks for, kept outside the file.
type memory struct {
	position entry.Position
	level    uint32
	tick     entry.Time
	fenced   string
}
