package config

import (
	"net"
	"slices"
	"strings"
	"time"
)

// DistSpecVersion is the version of the distribution specification that this registry speaks.
const DistSpecVersion = "1.1.1"

// Default is what holds for keys that a file does not have, on a machine of that host name. What
// follows from other keys (advertise, bootstrapExpect, writeAcks) is filled in when they are known.
func Default(host string) Config {
	return Config{
		DistSpecVersion: DistSpecVersion,
		Storage:         Storage{Store: Store{Dedupe: true, GC: true, GCDelay: time.Hour, GCInterval: time.Hour}},
		HTTP:            HTTP{Address: "127.0.0.1", Port: "8080"},
		Log:             Log{Level: "debug"},
		Cluster: Cluster{
			Name:     "zot",
			Node:     host,
			Listen:   "0.0.0.0:7373",
			Replicas: defaultReplicas,
			Reads:    "available",
			Timing:   "default",
		},
		Extensions: Extensions{Scrub: Scrub{Interval: scrubUnasked}},
	}
}

const (
	defaultReplicas  = 3
	defaultWriteAcks = 2
)

// complete fills in what follows from other keys.
func complete(c *Config, r *reader) {
	completeAuth(c, r)
	k := &c.Cluster
	if k.hashKey != "" {
		takeOverHashed(k, r)
	}
	if k.Alone {
		k.Members, k.BootstrapExpect, k.Replicas, k.WriteAcks = nil, 1, 1, 1
	}
	if !k.Alone && (k.Replicas != defaultReplicas || k.WriteAcks != 0) && !slices.ContainsFunc(c.Storage.All(), func(s SubPath) bool { return s.Bucket == nil }) {
		r.note("cluster.replicas", "and writeAcks say nothing: a bucket keeps one copy for all nodes")
	}
	if k.WriteAcks == 0 {
		k.WriteAcks = min(defaultWriteAcks, max(k.Replicas, 1))
	}
	if k.BootstrapExpect == 0 && !k.searches() {
		k.BootstrapExpect = max(len(k.Members), 1)
	}
	if k.Advertise == "" {
		k.Advertise = advertised(k)
	}
}

// takeOverHashed reads the section that zot has had since 2.1: its members share one storage and one
// key by which each is given repositories. A single one starts as it would without it.
func takeOverHashed(k *Cluster, r *reader) {
	if len(k.Members) < 2 {
		k.Alone = true
		r.note("cluster.hashKey", "is of zot's own clusters; this node starts as a cluster of one")
		return
	}
	if k.SecretFile == "" {
		r.refuses("cluster.hashKey", `write instead {"cluster": {"members": ["HOST:7373", ...], "secretFile": "/etc/zot/cluster-secret"}}, with the port between nodes`,
			"is of zot's own clusters, whose members share one storage; three nodes that start alone behind one load balancer would lose pushes")
		k.TLS = TLS{} // is how its members speak to each other, where cacert may stand alone
		return
	}
	r.note("cluster.hashKey", "is of zot's own clusters, and not used")
}

// searches reports whether members names something to look up.
func (c *Cluster) searches() bool {
	return slices.ContainsFunc(c.Members, func(m string) bool { return strings.HasPrefix(m, DNSPrefix) })
}

// advertised derives the address under which others reach this node: its own entry of members, else
// its name below a name to look up, else its name.
func advertised(k *Cluster) string {
	if own := ownEntry(k); own != "" {
		return own
	}
	for _, m := range k.Members {
		if name, ok := strings.CutPrefix(m, DNSPrefix); ok {
			return firstLabel(k.Node) + "." + name
		}
	}
	_, port, err := net.SplitHostPort(k.Listen)
	if err != nil || port == "" || port == "0" {
		return "" // check says so
	}
	return net.JoinHostPort(k.Node, port)
}

// ownEntry is the entry of members that is this node: the one with its name, else the only one whose
// first label is.
func ownEntry(k *Cluster) string {
	var alike []string
	for _, m := range k.Members {
		host, _, err := net.SplitHostPort(m)
		if err != nil || strings.HasPrefix(m, DNSPrefix) || net.ParseIP(host) != nil {
			continue
		}
		if strings.EqualFold(host, k.Node) {
			return m
		}
		if strings.EqualFold(firstLabel(host), firstLabel(k.Node)) {
			alike = append(alike, m)
		}
	}
	if len(alike) == 1 {
		return alike[0]
	}
	return ""
}

func firstLabel(host string) string {
	label, _, _ := strings.Cut(host, ".")
	return label
}
