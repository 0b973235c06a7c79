package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// errLogDamaged is returned when a log entry does not match its checksum: the node must not go on,
// for it may have voted or acknowledged on the strength of what is now something else.
var errLogDamaged = errors.New("log entry does not match its checksum")

// Keys under which the Raft library persists a vote, in this order and in two writes.
const (
	keyLastVoteTerm = "LastVoteTerm"
	keyLastVoteCand = "LastVoteCand"
	keyVote         = "zot/vote" // both, in one
	keyIncarnation  = "zot/incarnation"
	keyCurrentTerm  = "CurrentTerm"
)

// stableKeys are all keys of the stable store.
func stableKeys() []string { return []string{keyVote, keyIncarnation, keyCurrentTerm} }

// logStore is the Raft log and stable store: raft-boltdb, with what it lacks.
//
//   - a vote's term and candidate are written in one transaction (raft #661): a crash between the two
//     writes left a vote for the old candidate in the new term, and it was granted again unchecked;
//   - each entry carries a CRC32C, checked when it is read: bbolt has no checksum on pages;
//   - it is monotonic, so that a snapshot that was installed empties it (raft #697);
//   - a write that does not end within a deadline, or fails, stops the node (raft #503, #614): a leader
//     whose disk hangs goes on sending heartbeats, and nothing is ever committed again.
//
// Its file can be compacted while it is used (compact_log.go). Its methods may be called concurrently.
type logStore struct {
	path     string
	files    Files
	noSync   bool
	deadline time.Duration
	failStop func(error)
	before   func(op string) // a seam for tests: called in a write's time, may block

	mu       sync.Mutex
	voteTerm uint64 // written with the candidate that follows it; guarded by mu

	// using is held for reading by whoever uses the file, and for writing while another takes its place.
	using sync.RWMutex
	bolt  *logFile // guarded by using
	lost  error    // guarded by using; why nothing may be written any more

	compacting sync.Mutex    // held by the one compaction
	removals   atomic.Uint64 // how often entries were removed, or others written in their place
}

// logFile is an open file of the log.
type logFile struct {
	*raftboltdb.BoltStore
	file *os.File // bbolt's own handle
}

// openLogStore opens or makes the log at path. The caller closes it.
func openLogStore(path string, files Files, noSync bool, deadline time.Duration, failStop func(error)) (*logStore, error) {
	s := &logStore{path: path, files: files, noSync: noSync, deadline: deadline, failStop: failStop, before: func(string) {}}
	if err := s.clearDraft(); err != nil {
		return nil, err
	}
	var err error
	s.bolt, err = openLogFile(path, noSync)
	return s, err
}

func openLogFile(path string, noSync bool) (*logFile, error) {
	f := &logFile{}
	var err error
	f.BoltStore, err = raftboltdb.New(raftboltdb.Options{
		Path:   path,
		NoSync: noSync,
		BoltOptions: &bbolt.Options{
			Timeout:        5 * time.Second,
			FreelistType:   bbolt.FreelistMapType,
			NoFreelistSync: false, // opening must not scan the file
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				var err error
				f.file, err = os.OpenFile(name, flag, mode) //nolint:gosec // below Config.Dir
				return f.file, err
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return f, nil
}

// IsMonotonic makes Raft empty the log after it installed a snapshot.
func (s *logStore) IsMonotonic() bool { return true }

// FirstIndex is the index of the oldest entry, 0 if there is none.
func (s *logStore) FirstIndex() (uint64, error) {
	s.using.RLock()
	defer s.using.RUnlock()
	return s.bolt.FirstIndex()
}

// LastIndex is the index of the newest entry, 0 if there is none.
func (s *logStore) LastIndex() (uint64, error) {
	s.using.RLock()
	defer s.using.RUnlock()
	return s.bolt.LastIndex()
}

// GetLog reads an entry. It fails with raft.ErrLogNotFound or errLogDamaged.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	s.using.RLock()
	defer s.using.RUnlock()
	return s.read(index, log)
}

// read is GetLog for who has s.using.
func (s *logStore) read(index uint64, log *raft.Log) error {
	if err := s.bolt.GetLog(index, log); err != nil {
		if !errors.Is(err, raft.ErrLogNotFound) {
			s.failStop(fmt.Errorf("entry %d: %w", index, err))
		}
		return err
	}
	n := len(log.Extensions)
	if n < 4 || binary.BigEndian.Uint32(log.Extensions[n-4:]) != checksum(log, log.Extensions[:n-4]) || log.Index != index {
		err := fmt.Errorf("entry %d: %w", index, errLogDamaged)
		s.failStop(err)
		return err
	}
	if log.Extensions = log.Extensions[:n-4]; n == 4 {
		log.Extensions = nil
	}
	return nil
}

// checksum covers all that Raft acts upon.
func checksum(log *raft.Log, extensions []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], log.Index)
	binary.BigEndian.PutUint64(head[8:], log.Term)
	head[16] = byte(log.Type)
	return crc32.Update(crc32.Update(crc32.Checksum(head[:], table), table, log.Data), table, extensions)
}

// StoreLog appends one entry.
func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs appends entries, durably. The given ones are not changed: Raft still sends them to others.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	return s.write("store logs", func() error {
		last, err := s.bolt.LastIndex()
		if err != nil {
			return err
		}
		if len(logs) > 0 && logs[0].Index <= last {
			defer s.removals.Add(1) // Raft removes entries before it writes others; if not, this is one
		}
		return s.bolt.StoreLogs(summed(logs))
	})
}

// summed are entries with their checksums.
func summed(logs []*raft.Log) []*raft.Log {
	summed := make([]*raft.Log, len(logs))
	for i, log := range logs {
		c := *log
		c.Extensions = binary.BigEndian.AppendUint32(append([]byte(nil), log.Extensions...), checksum(log, log.Extensions))
		summed[i] = &c
	}
	return summed
}

// DeleteRange removes entries from first to last.
func (s *logStore) DeleteRange(first, last uint64) error {
	return s.write("delete logs", func() error {
		defer s.removals.Add(1) // after it: a compaction that begins meanwhile must learn of it
		return s.bolt.DeleteRange(first, last)
	})
}

// Set persists a value. A vote's candidate takes the term along that was set just before.
func (s *logStore) Set(key, value []byte) error {
	if string(key) == keyLastVoteCand {
		s.mu.Lock()
		vote := binary.BigEndian.AppendUint64(nil, s.voteTerm)
		s.mu.Unlock()
		key, value = []byte(keyVote), append(vote, value...)
	}
	return s.set(key, value)
}

// Get reads a value; it is nil, with an error "not found", if there is none.
func (s *logStore) Get(key []byte) ([]byte, error) {
	if string(key) != keyLastVoteCand {
		return s.value(key)
	}
	vote, err := s.value([]byte(keyVote))
	if err != nil {
		return nil, err
	}
	return vote[8:], nil
}

// SetUint64 persists a number. A vote's term waits for its candidate.
func (s *logStore) SetUint64(key []byte, value uint64) error {
	if string(key) == keyLastVoteTerm {
		s.mu.Lock()
		s.voteTerm = value
		s.mu.Unlock()
		return nil
	}
	return s.set(key, binary.BigEndian.AppendUint64(nil, value))
}

// set fails for a key that a compaction would not copy.
func (s *logStore) set(key, value []byte) error {
	return s.write("set "+string(key), func() error {
		if !slices.Contains(stableKeys(), string(key)) {
			return errors.New("nobody knows this key")
		}
		return s.bolt.Set(key, value)
	})
}

// GetUint64 reads a number; 0, with an error "not found", if there is none.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	if string(key) == keyLastVoteTerm {
		key = []byte(keyVote)
	}
	value, err := s.value(key)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}

func (s *logStore) value(key []byte) ([]byte, error) {
	s.using.RLock()
	defer s.using.RUnlock()
	return s.bolt.Get(key)
}

// Close closes the file. A compaction fails.
func (s *logStore) Close() error {
	s.using.Lock()
	defer s.using.Unlock()
	if s.lost == nil {
		s.lost = errors.New("the log is closed")
	}
	return s.bolt.Close()
}

// write runs one write under the deadline. A write that failed may be on disk all the same, and one
// that hangs may end at any time: neither the caller nor a later election can build on it.
//
// The deadline begins when a compaction that is about to end has ended, which has one itself.
func (s *logStore) write(op string, do func() error) error {
	s.using.RLock()
	defer s.using.RUnlock()
	defer s.watch(op)()
	err := s.lost
	if err == nil {
		err = do()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", op, err)
		s.failStop(err)
		return err
	}
	return nil
}

// watch stops the node unless done is called within the deadline.
func (s *logStore) watch(op string) (done func()) {
	watch := time.AfterFunc(s.deadline, func() {
		s.failStop(fmt.Errorf("%s: the log's disk has not answered for %s", op, s.deadline))
	})
	s.before(op)
	return func() { watch.Stop() }
}

// reconcile throws the log away if it contradicts the state. That is so after a crash between the
// install of a snapshot and the emptying of the log: the entries that follow are stale, and Raft would
// take their index and term for its own in elections (raft #697).
func (s *logStore) reconcile(index, term uint64) error {
	last, err := s.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	if first > index+1 {
		return fmt.Errorf("%w: the log begins with entry %d and the state ends with entry %d", ErrLostDisk, first, index)
	}
	if index == 0 {
		return nil
	}
	if first <= index && index <= last {
		var at raft.Log
		if err := s.GetLog(index, &at); err != nil {
			return err
		}
		if at.Term == term {
			return nil
		}
	} else if first == index+1 {
		return nil
	}
	return s.DeleteRange(first, last)
}

// mendBootstrap undoes the first half of a bootstrap. Raft writes the term and entry 1 one after the
// other, and after a crash in between refuses to bootstrap for ever. Nobody was ever leader or candidate
// in term 1, so there is no vote to forget.
func (s *logStore) mendBootstrap() error {
	last, err := s.LastIndex()
	if err != nil || last != 0 {
		return err
	}
	term, err := s.GetUint64([]byte(keyCurrentTerm))
	if err != nil || term != 1 { // an error says that there is no term
		return nil //nolint:nilerr // so there is nothing to mend
	}
	return s.SetUint64([]byte(keyCurrentTerm), 0)
}

// claim writes down whose log this is, or fails if it is another incarnation's.
func (s *logStore) claim(i entry.Incarnation) error {
	have, err := s.value([]byte(keyIncarnation))
	switch {
	case err == nil && string(have) != string(i[:]):
		return fmt.Errorf("%w: the log belongs to incarnation %x, not to %s", ErrLostDisk, have, i)
	case err == nil:
		return nil
	case !errors.Is(err, raftboltdb.ErrKeyNotFound):
		return err
	}
	return s.Set([]byte(keyIncarnation), i[:])
}
