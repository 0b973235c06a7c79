package config

import (
	"time"

	"github.com/seed-16d79997/zot/fsm"
	"github.com/seed-16d79997/zot/jobs"
	"github.com/seed-16d79997/zot/jobs/retention"
)

// Storage says where the node keeps what it keeps, and for how long.
type Storage struct {
	Store              // the default store; its RootDirectory has the node's own files too
	SubPaths []SubPath // stores of their own, by name

	MaxRepositories int // in all stores together; 0: any number
}

// Store is what a store is made of. Nothing of it is taken over from another one.
type Store struct {
	RootDirectory string
	Dedupe        bool             // accepted: equal blobs of a store are one either way
	GC            bool             // whether garbage is collected while this node leads
	GCDelay       time.Duration    // how long what nobody refers to is kept
	GCInterval    time.Duration    // from the end of one collection to the next; MinGCInterval if it is less
	GCWindow      jobs.Window      // when one may begin
	Bucket        *Bucket          // where copies go; nil: below RootDirectory
	Hints         *Hints           // what clusters on one bucket know of each other's blobs; nil: nothing
	Retention     retention.Config // what is removed beside garbage, as often as that is collected; nothing without policies
}

// MinGCInterval is the shortest time between two collections. zot has 0 collect with each push and delete,
// which comes to the same.
const MinGCInterval = time.Second

const (
	minGCDelay  = 5 * time.Second           // shorter ones count as this (fsm.SetStore)
	slowGCDelay = 30 * time.Minute          // a push may need longer than half of a shorter one (GC T4)
	maxGCDelay  = 10 * 365 * 24 * time.Hour // what the replicated state takes
	usualRoot   = "/var/lib/zot"            // for files that name a bucket and no directory
)

// All returns all stores, the default one first.
func (s Storage) All() []SubPath {
	return append([]SubPath{{Name: fsm.DefaultStore, Store: s.Store, key: "storage"}}, s.SubPaths...)
}

// Named is the store of a name; its zero value if there is none.
func (s Storage) Named(name string) SubPath {
	for _, one := range s.All() {
		if one.Name == name {
			return one
		}
	}
	return SubPath{}
}

func readStorage(s *section, c *Storage) {
	s.number("maxRepos", &c.MaxRepositories)
	readStore(s, &c.Store)
	s.section("subPaths", func(s *section) { readSubPaths(s, c) })
	if c.RootDirectory == "" && s.object.find("storageDriver") != nil {
		c.RootDirectory = usualRoot
		s.note(s.key("rootDirectory"), "is missing; the node's own files go to %s", usualRoot)
	}
}

// readStore reads the keys that every store has.
func readStore(s *section, c *Store) {
	s.text("rootDirectory", &c.RootDirectory)
	if s.boolean("dedupe", &c.Dedupe); !c.Dedupe {
		s.noteIf("dedupe", "false changes nothing: equal blobs of a store are one")
	}
	s.boolean("gc", &c.GC)
	s.duration("gcDelay", &c.GCDelay)
	s.duration("gcInterval", &c.GCInterval)
	s.section("retention", func(s *section) { readRetention(s, c) })
	s.section("storageDriver", func(s *section) { readDriver(s, c) })
	redirect := false
	if s.boolean("redirectBlobURL", &redirect); redirect && c.Bucket == nil {
		s.note(s.key("redirectBlobURL"), "says nothing without a bucket")
	} else if c.Bucket != nil {
		c.Bucket.Redirect = redirect
	}
	readGCWindow(s, c)
	if !c.GC {
		s.noteIf("gcDelay", "says nothing, for gc is false")
		s.noteIf("gcInterval", "says nothing, for gc is false")
		s.noteIf("gcTimeWindow", "says nothing, for gc is false")
		s.noteIf("retention", "says nothing, for gc is false")
	}
	readCache(s, c)
	var fulfilled bool // whatever is said: every write is synced
	s.boolean("commit", &fulfilled)
	s.ignored("fastRestart", "gcMaxSchedulerDelay")
}

func checkStorage(c *Storage, r *reader) {
	for _, s := range c.All() {
		checkStore(s, r)
	}
	checkSubPaths(c, r)
}

func checkStore(s SubPath, r *reader) {
	if s.RootDirectory == "" && (s.Bucket == nil || s.Name == fsm.DefaultStore) {
		r.refuses(s.Key("rootDirectory"), `say where the data goes, as "`+usualRoot+`"`, "is missing")
	}
	if s.Bucket != nil {
		checkBucket(s.Key("storageDriver")+".", s.Bucket, r)
	}
	switch {
	case s.GCDelay > maxGCDelay:
		r.problem(s.Key("gcDelay"), "give less than ten years, or turn gc off", "%s is too long", s.GCDelay)
	case s.GCDelay < minGCDelay:
		r.note(s.Key("gcDelay"), "%s counts as %s, the shortest in which a push can end", s.GCDelay, minGCDelay)
	case s.GCDelay < slowGCDelay:
		r.note(s.Key("gcDelay"), "is %s: a push that needs more than half of it between a layer and the manifest may have to send that layer again", s.GCDelay)
	}
	if s.GC && s.GCInterval < MinGCInterval {
		r.note(s.Key("gcInterval"), "%s counts as %s", s.GCInterval, MinGCInterval)
	}
}
