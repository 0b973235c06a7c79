package config

import "bytes"

// smallest is what a file needs at least.
const smallest = `begin with {"storage": {"rootDirectory": "/var/lib/zot"}}`

// Parse is Load for a file's content, on a machine of that host name.
func Parse(data []byte, host string) (Config, []Note, error) {
	c := Default(host)
	if len(bytes.TrimSpace(data)) == 0 {
		return c, nil, Problems{{Text: "the file is empty", Mend: smallest}}
	}
	root, err := decode(data)
	if err != nil {
		return c, nil, Problems{{Text: "not valid JSON: " + err.Error(), Mend: notJSON(data)}}
	}
	if len(root.members) == 0 {
		return c, nil, Problems{{Text: "no key:value pair", Mend: smallest}}
	}
	r := &reader{}
	s := &section{reader: r, object: root}
	readFile(s, &c)
	s.close()
	complete(&c, r)
	check(&c, r)
	return c, r.notes, r.problems.orNil()
}

// notJSON guesses why a file is not JSON.
func notJSON(data []byte) string {
	switch {
	case !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")):
		return smallest
	case bytes.Contains(data, []byte("//")) || bytes.Contains(data, []byte("#")):
		return "JSON has no comments"
	default:
		return ""
	}
}

func readFile(s *section, c *Config) {
	s.word("distSpecVersion", &c.DistSpecVersion)
	s.section("storage", func(s *section) {
		s.text("rootDirectory", &c.Storage.RootDirectory)
		s.unused("dedupe", "gc", "gcDelay", "gcInterval", "commit", "remoteCache", "storageDriver", "cacheDriver", "subPaths",
			"retention", "maxRepos", "redirectBlobURL", "gcTimeWindow", "fastRestart", "gcMaxSchedulerDelay")
	})
	s.section("http", func(s *section) {
		s.word("address", &c.HTTP.Address)
		s.text("port", &c.HTTP.Port)
		s.unused("realm", "tls", "allowOrigin", "ratelimit", "externalUrl", "compat", "readTimeout", "writeTimeout", "auth", "accessControl")
	})
	s.section("log", func(s *section) {
		s.word("level", &c.Log.Level)
		s.text("output", &c.Log.Output)
		s.unused("audit")
	})
	c.Cluster.Alone = !s.section("cluster", func(s *section) { readCluster(s, &c.Cluster) })
	s.unused("scheduler", "extensions")
	s.ignored("goVersion", "commit", "releaseTag", "binaryType")
}

func readCluster(s *section, c *Cluster) {
	s.word("name", &c.Name)
	s.word("node", &c.Node)
	s.text("zone", &c.Zone)
	s.word("listen", &c.Listen)
	s.text("advertise", &c.Advertise)
	s.list("members", &c.Members)
	s.number("bootstrapExpect", &c.BootstrapExpect)
	s.text("secretFile", &c.SecretFile)
	s.section("tls", func(s *section) {
		s.text("cert", &c.TLS.Cert)
		s.text("key", &c.TLS.Key)
		s.text("ca", &c.TLS.CA)
		s.text("cacert", &c.TLS.CA) // what zot calls it
	})
	s.number("replicas", &c.Replicas)
	s.number("writeAcks", &c.WriteAcks)
	s.word("reads", &c.Reads)
	s.word("timing", &c.Timing)
	s.text("hashKey", &c.hashKey)
}
