package config

import (
	"slices"
	"strings"
)

// Parse is Load for the content of a file of that name, on a machine of that host name.
func Parse(name string, data []byte, host string) (Config, []Note, error) {
	c := Default(host)
	root, problems := decode(name, data)
	if problems != nil {
		return c, nil, problems
	}
	r := &reader{}
	s := &section{reader: r, object: root}
	readFile(s, &c)
	s.close()
	complete(&c, r)
	check(&c, r)
	return c, r.notes, r.problems.orNil()
}

func readFile(s *section, c *Config) {
	s.word("distSpecVersion", &c.DistSpecVersion)
	s.section("storage", func(s *section) { readStorage(s, &c.Storage) })
	s.section("http", func(s *section) { readHTTP(s, &c.HTTP) })
	s.section("log", func(s *section) { readLog(s, &c.Log) })
	c.Cluster.Alone = !s.section("cluster", func(s *section) { readCluster(s, &c.Cluster) }) || saysNothingOfOthers(s)
	s.section("scheduler", func(s *section) { readScheduler(s, c) })
	s.section("extensions", func(s *section) { readExtensions(s, &c.Extensions) })
	s.ignored("goVersion", "commit", "releaseTag", "binaryType")
	s.ignored("$schema") // by which editors know what may stand in the file
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
	s.oneOf("reads", &c.Reads, "available", "strict", "local")
	s.oneOf("timing", &c.Timing, "default", "fast-lan", "slow-disk")
	readProxies(s, c)
	s.text("hashKey", &c.hashKey)
	readQuotas(s, &c.Quotas)
}

// saysNothingOfOthers reports whether a section "cluster" is there with keys that a cluster of one may have as well.
func saysNothingOfOthers(file *section) bool {
	cluster, ok := file.object.find("cluster").(*object)
	others := func(m member) bool {
		return !strings.EqualFold(m.name, "quotas") && !strings.EqualFold(m.name, "trustedProxies")
	}
	return ok && len(cluster.members) > 0 && !slices.ContainsFunc(cluster.members, others)
}
