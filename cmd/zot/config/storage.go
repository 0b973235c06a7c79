package config

import "time"

// Storage says where the node keeps what it keeps, and for how long.
type Storage struct {
	RootDirectory string
	Dedupe        bool // accepted: equal blobs of a store are one either way
	GC            bool
	GCDelay       time.Duration // how long what nobody refers to is kept
	GCInterval    time.Duration
}

const (
	minGCDelay = 5 * time.Second           // shorter ones count as this (fsm.SetStore)
	maxGCDelay = 10 * 365 * 24 * time.Hour // what the replicated state takes
	usualRoot  = "/var/lib/zot"            // for files that name a bucket and no directory
)

func readStorage(s *section, c *Storage) {
	s.text("rootDirectory", &c.RootDirectory)
	s.boolean("dedupe", &c.Dedupe)
	s.boolean("gc", &c.GC)
	s.duration("gcDelay", &c.GCDelay)
	s.duration("gcInterval", &c.GCInterval)
	s.later(laterInStorage())
	if c.RootDirectory == "" && s.object.find("storageDriver") != nil {
		c.RootDirectory = usualRoot
		s.note(s.key("rootDirectory"), "is missing; the node's own files go to %s", usualRoot)
	}
	if c.GC {
		s.noteIf("gc", "is read, but this version collects nothing yet")
		s.noteIf("gcInterval", "is read, but this version collects nothing yet")
	} else {
		s.noteIf("gcInterval", "says nothing, for gc is false")
	}
	s.noteIf("cacheDriver", "is not used: what it would hold is in the replicated state of the nodes")
	var fulfilled bool // whatever is said: every write is synced, and there is no cache to be remote
	s.boolean("commit", &fulfilled)
	s.boolean("remoteCache", &fulfilled)
	s.ignored("cacheDriver", "fastRestart", "gcMaxSchedulerDelay")
}

func checkStorage(c *Storage, r *reader) {
	if c.RootDirectory == "" {
		r.refuses("storage.rootDirectory", `say where the data goes, as "`+usualRoot+`"`, "is missing")
	}
	if !c.Dedupe {
		r.note("storage.dedupe", "false changes nothing: equal blobs of a store are one")
	}
	switch {
	case c.GCDelay > maxGCDelay:
		r.problem("storage.gcDelay", "give less than ten years, or turn gc off", "%s is too long", c.GCDelay)
	case c.GCDelay < minGCDelay:
		r.note("storage.gcDelay", "%s counts as %s, the shortest in which a push can end", c.GCDelay, minGCDelay)
	}
}
