package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
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

// logStore is the Raft log and stable store: raft-boltdb, with what it lacks.
//
//   - a vote's term and candidate are written in one transaction (raft #661): a crash between the two
//     writes left a vote for the old candidate in the new term, and it was granted again unchecked;
//   - each entry carries a CRC32C, checked when it is read: bbolt has no checksum on pages;
//   - it is monotonic, so that a snapshot that was installed empties it (raft #697);
//   - a write that does not end within a deadline, or fails, stops the node (raft #503, #614): a leader
//     whose disk hangs goes on sending heartbeats, and nothing is ever committed again.
//
// Its methods may be called concurrently.
type logStore struct {
	bolt     *raftboltdb.BoltStore
	deadline time.Duration
	failStop func(error)
	before   func(op string) // a seam for tests: called in a write's time, may block

	mu       sync.Mutex
	voteTerm uint64 // written with the candidate that follows it; guarded by mu
}

// openLogStore opens or makes the log at path. The caller closes it.
func openLogStore(path string, noSync bool, deadline time.Duration, failStop func(error)) (*logStore, error) {
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path:   path,
		NoSync: noSync,
		BoltOptions: &bbolt.Options{
			Timeout:        5 * time.Second,
			FreelistType:   bbolt.FreelistMapType,
			NoFreelistSync: false, // opening must not scan the file
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &logStore{bolt: bolt, deadline: deadline, failStop: failStop, before: func(string) {}}, nil
}

// IsMonotonic makes Raft empty the log after it installed a snapshot.
func (s *logStore) IsMonotonic() bool { return true }

// FirstIndex is the index of the oldest entry, 0 if there is none.
func (s *logStore) FirstIndex() (uint64, error) { return s.bolt.FirstIndex() }

// LastIndex is the index of the newest entry, 0 if there is none.
func (s *logStore) LastIndex() (uint64, error) { return s.bolt.LastIndex() }

// GetLog reads an entry. It fails with raft.ErrLogNotFound or errLogDamaged.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
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
	summed := make([]*raft.Log, len(logs))
	for i, log := range logs {
		c := *log
		c.Extensions = binary.BigEndian.AppendUint32(append([]byte(nil), log.Extensions...), checksum(log, log.Extensions))
		summed[i] = &c
	}
	return s.write("store logs", func() error { return s.bolt.StoreLogs(summed) })
}

// DeleteRange removes entries from first to last.
func (s *logStore) DeleteRange(first, last uint64) error {
	return s.write("delete logs", func() error { return s.bolt.DeleteRange(first, last) })
}

// Set persists a value. A vote's candidate takes the term along that was set just before.
func (s *logStore) Set(key, value []byte) error {
	if string(key) == keyLastVoteCand {
		s.mu.Lock()
		vote := binary.BigEndian.AppendUint64(nil, s.voteTerm)
		s.mu.Unlock()
		key, value = []byte(keyVote), append(vote, value...)
	}
	return s.write("set "+string(key), func() error { return s.bolt.Set(key, value) })
}

// Get reads a value; it is nil, with an error "not found", if there is none.
func (s *logStore) Get(key []byte) ([]byte, error) {
	if string(key) != keyLastVoteCand {
		return s.bolt.Get(key)
	}
	vote, err := s.bolt.Get([]byte(keyVote))
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
	return s.write("set "+string(key), func() error { return s.bolt.SetUint64(key, value) })
}

// GetUint64 reads a number; 0, with an error "not found", if there is none.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	if string(key) != keyLastVoteTerm {
		return s.bolt.GetUint64(key)
	}
	vote, err := s.bolt.Get([]byte(keyVote))
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(vote), nil
}

// Close closes the file.
func (s *logStore) Close() error { return s.bolt.Close() }

// write runs one write under the deadline. A write that failed may be on disk all the same, and one
// that hangs may end at any time: neither the caller nor a later election can build on it.
func (s *logStore) write(op string, do func() error) error {
	watch := time.AfterFunc(s.deadline, func() {
		s.failStop(fmt.Errorf("%s: the log's disk has not answered for %s", op, s.deadline))
	})
	defer watch.Stop()
	s.before(op)
	if err := do(); err != nil {
		err = fmt.Errorf("%s: %w", op, err)
		s.failStop(err)
		return err
	}
	return nil
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
	have, err := s.bolt.Get([]byte(keyIncarnation))
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
