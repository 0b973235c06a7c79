package fsm

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// FileName is the name of the state's file in Config.Dir.
const FileName = "fsm.db"

// mmapSize is how much address space the file is mapped into at once. Growing the map needs every
// reader gone, so a long read would stop all writes; address space costs nothing.
const mmapSize = 8 << 30

// Config says where a State lies and what it may use.
type Config struct {
	Dir         string            // holds FileName and, while a snapshot arrives, a second file
	Incarnation entry.Incarnation // of this data directory; a file of another is refused
	Files       Files             // nil: the operating system's
	NoSync      bool              // never fsync: for tests of logic, not of durability
	Logger      hclog.Logger
}

// State is the replicated state on this node's disk. All methods may be called concurrently, but
// Apply, Stage and Install only by one caller at a time.
type State struct {
	config   Config
	files    Files
	log      hclog.Logger
	commands map[kind]spec

	mu      sync.Mutex
	current *database
	mem     memory
}

// memory is what every request asks for, kept outside the file.
type memory struct {
	position entry.Position
	level    uint32
	tick     entry.Time
	fenced   string
}

// database is an open file with a count of its users, so that a restore can put another in its place
// while views of the old one are still open.
type database struct {
	bolt  *bbolt.DB
	users int // guarded by State.mu; the State itself is one while the database is current
}

// Open opens the state in config.Dir, or makes an empty one. The caller closes it.
//
// It fails if the file belongs to another incarnation or cannot be read.
func Open(config Config) (*State, error) {
	s := &State{config: config, files: config.Files, log: config.Logger, commands: map[kind]spec{}}
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
	if err := s.clearStage(); err != nil {
		return nil, err
	}
	db, err := s.openFile(s.path())
	if err != nil {
		return nil, err
	}
	s.current = db
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start makes what an empty file lacks and reads what is kept in memory.
func (s *State) start() error {
	return s.current.bolt.Update(func(bolt *bbolt.Tx) error {
		if _, err := bolt.CreateBucketIfNotExists([]byte(local)); err != nil {
			return err
		}
		for _, b := range replicated() {
			if _, err := bolt.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		b := s.openBatch(bolt)
		if have := b.tx.get(local, keyIncarnation); have != nil && string(have) != string(s.config.Incarnation[:]) {
			return fmt.Errorf("%s belongs to incarnation %x, not to %s", s.path(), have, s.config.Incarnation)
		}
		b.tx.put(local, keyIncarnation, s.config.Incarnation[:])
		s.mem = b.close()
		return nil
	})
}

// Close waits for open views and closes the file.
func (s *State) Close() error {
	s.mu.Lock()
	db := s.current
	s.current = nil
	s.mu.Unlock()
	if db == nil {
		return nil
	}
	return db.bolt.Close() // waits for its transactions
}

func (s *State) path() string { return filepath.Join(s.config.Dir, FileName) }

func (s *State) openFile(path string) (*database, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         5 * time.Second,
		NoSync:          s.config.NoSync,
		NoFreelistSync:  false, // opening must not scan the file
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mmapSize,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &database{bolt: db, users: 1}, nil
}

// acquire pins the current database; release undoes it and closes one that is no longer current.
func (s *State) acquire() *database {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.users++
	return s.current
}

func (s *State) release(db *database) {
	s.mu.Lock()
	db.users--
	last := db.users == 0
	s.mu.Unlock()
	if last {
		if err := db.bolt.Close(); err != nil {
			s.log.Warn("close of a replaced state failed", "error", err)
		}
	}
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

// Position is how far this node has applied.
func (s *State) Position() entry.Position { return s.memory().position }

// Level is the cluster's feature level.
func (s *State) Level() uint32 { return s.memory().level }

// Tick is how long, in state time, a leader may append nothing (GC T2).
func (s *State) Tick() time.Duration { return time.Duration(s.memory().tick) }

// Fenced is why this node must neither serve nor vote, "" if it may: its state differs from that of a
// majority (DESIGN 2, "State hash"). It stays so over restarts.
func (s *State) Fenced() string { return s.memory().fenced }

// View is one consistent state, for reading. It is valid only within the function that it is passed to.
type View struct{ reader }

// Time is the state time of the view.
func (v View) Time() entry.Time { return v.position().Time }

// Position is how far the view has applied.
func (v View) Position() entry.Position { return v.position() }

// View calls fn with the newest applied state. Nothing slow may happen in fn: while it runs, the file
// cannot reuse what was freed since.
func (s *State) View(fn func(v View) error) error {
	db := s.acquire()
	defer s.release(db)
	return db.bolt.View(func(bolt *bbolt.Tx) error { return fn(View{reader{bolt}}) })
}
