package fsm

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// FileName is the name of the state's file in Config.Dir.
const FileName = "fsm.db"

// Config says where a State lies and what it may use.
type Config struct {
	Dir         string            // holds FileName and, while a snapshot arrives or it is compacted, a second file
	Incarnation entry.Incarnation // of this data directory; a file of another is refused
	Files       Files             // nil: the operating system's
	NoSync      bool              // never fsync: for tests of logic, not of durability
	Logger      hclog.Logger
}

// State is the replicated state on this node's disk. All methods may be called concurrently.
type State struct {
	config   Config
	files    Files
	log      hclog.Logger
	commands map[kind]spec
	highest  uint32 // feature level that this binary knows

	// writing lets one change of the file after the other, as bbolt's own lock does, and keeps what is
	// in memory in the same order. No request waits for it.
	writing sync.Mutex
	recount *recount // guarded by writing; the recount under way
	changes *changes // guarded by writing; what the compaction under way has not copied yet

	recounting sync.Mutex // held by the one Recount

	staging sync.Mutex // held while a snapshot arrives or is installed
	staged  bool       // guarded by staging; whether a whole one lies at stagePath

	compactAtOnce int // bytes that one step of a compaction copies

	mu         sync.Mutex
	current    *database
	mem        memory
	compaction *compaction // the one under way
	barred     int         // how many want none to be
}

// Open opens the state in config.Dir, or makes an empty one. The caller closes it.
//
// It fails if the file belongs to another incarnation, is of a feature level that this binary does not
// know (ErrLevelUnknown), or cannot be read (ErrDamaged).
func Open(config Config) (*State, error) {
	s := &State{config: config, files: config.Files, log: config.Logger, commands: map[kind]spec{}, highest: HighestLevel, compactAtOnce: compactAtOnce}
	if s.files == nil {
		s.files = osFiles{}
	}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	for _, sp := range commands() {
		if _, twice := s.commands[sp.kind]; twice {
			return nil, fmt.Errorf("command %s stands twice in the table", sp.kind)
		}
		s.commands[sp.kind] = sp
	}
	if err := errors.Join(s.clearStage(), s.clear(s.compactPath()), s.create()); err != nil {
		return nil, err
	}
	db, err := openDatabase(s.path(), s.config.NoSync)
	if err != nil {
		return nil, err
	}
	if err := s.initialise(db); err != nil {
		return nil, fmt.Errorf("open %s: %w", s.path(), errors.Join(err, db.close()))
	}
	s.current = db
	return s, nil
}

// Close waits for open views and snapshots and closes the file. A compaction ends at once.
func (s *State) Close() error {
	defer s.barCompaction(ErrClosed)()
	s.mu.Lock()
	db := s.current
	s.current = nil
	s.mu.Unlock()
	if db == nil {
		return nil
	}
	return db.close()
}

func (s *State) path() string { return filepath.Join(s.config.Dir, FileName) }

// Position is how far this node has applied.
func (s *State) Position() entry.Position { return s.memory().position }

// Level is the cluster's feature level.
func (s *State) Level() uint32 { return s.memory().level }

// Tick is how long, in state time, a leader may append nothing (GC T2).
func (s *State) Tick() time.Duration { return time.Duration(s.memory().tick) }

// Fenced is why this node must neither serve nor vote, "" if it may: its state differs from that of a
// majority (DESIGN 2, "State hash"). It stays so over restarts.
func (s *State) Fenced() string { return s.memory().fenced }
