package config

import "strings"

// Hints is the table by which clusters on one bucket know of each other's blobs. Its keys are those of the database in
// which zot keeps where equal blobs are.
type Hints struct {
	Endpoint string // of another store than Amazon's; "" is Amazon's
	Region   string
	Table    string
}

// readCache reads storage.remoteCache and storage.cacheDriver, when the rest of the section is known. What else
// than where equal blobs are zot keeps in such a database is in the replicated state of the nodes.
func readCache(s *section, c *Store) {
	remote := c.Dedupe && c.Bucket != nil
	s.boolean("remoteCache", &remote)
	s.section("cacheDriver", func(s *section) {
		name := ""
		switch known := s.oneOf("name", &name, "dynamodb", "redis", "boltdb"); {
		case name == "dynamodb":
			readHints(s, c, remote)
			return
		case known:
			s.note(s.path, "is not used: what it would hold is in the replicated state of the nodes")
		}
		s.ignoreRest()
	})
}

func readHints(s *section, c *Store, remote bool) {
	h := &Hints{}
	s.text("endpoint", &h.Endpoint)
	s.text("region", &h.Region)
	s.text("cacheTablename", &h.Table)
	s.ignored("repoMetaTablename", "manifestDataTablename", "indexDataTablename", "imageMetaTablename", "repoBlobsInfoTablename",
		"userDataTablename", "apiKeyTablename", "versionTablename")
	s.noteUnknown()
	switch {
	case c.Bucket == nil && remote:
		s.problem(s.path, "remove it, or say in storageDriver which bucket it is for", "is for copies in a bucket, and these go to a directory")
	case !remote:
		s.note(s.path, "is not used, for remoteCache is false")
	case h.Table == "":
		s.note(s.path, "is not used without cacheTablename: all else that it would hold is in the replicated state of the nodes")
	default:
		checkHints(s, h)
		c.Hints = h
	}
}

func checkHints(s *section, h *Hints) {
	if h.Region == "" {
		s.problem(s.key("region"), `say it, as "us-east-1"`, "is missing")
	}
	if h.Endpoint != "" && !strings.HasPrefix(h.Endpoint, "http://") && !strings.HasPrefix(h.Endpoint, "https://") {
		s.problem(s.key("endpoint"), `write it as "http://localhost:8000"`, "%q has no scheme", h.Endpoint)
	}
}
