package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// The most that names may have, in bytes: what fits into a greeting between nodes.
const maxName = 128

// maxReplicas is the most that the replicated state takes.
const maxReplicas = 64

// minSecret is how many characters a line of the secret has at least; `openssl rand -hex 32` gives 64.
const minSecret = 32

const secretMend = "make one with `openssl rand -hex 32` and give it to every node"

// check finds what speaks against the values of a file.
func check(c *Config, r *reader) {
	if c.DistSpecVersion != DistSpecVersion {
		r.note("distSpecVersion", "%q is asked for; %s is what is spoken", c.DistSpecVersion, DistSpecVersion)
		c.DistSpecVersion = DistSpecVersion
	}
	checkStorage(&c.Storage, r)
	checkHTTP(c, r)
	checkLimits(c, r)
	if !c.Cluster.Alone {
		checkCluster(&c.Cluster, r)
	}
}

func checkCluster(k *Cluster, r *reader) {
	checkName(r, "cluster.name", k.Name)
	checkName(r, "cluster.node", k.Node)
	if len(k.Zone) > maxName {
		r.problem("cluster.zone", fmt.Sprintf("at most %d are allowed", maxName), "has %d bytes", len(k.Zone))
	}
	if err := checkAddress(k.Listen, true); err != nil {
		r.problem("cluster.listen", `write it as "0.0.0.0:7373"`, "%v", err)
	}
	checkAdvertise(k, r)
	for i, m := range k.Members {
		if err := checkAddress(strings.TrimPrefix(m, DNSPrefix), false); err != nil {
			r.problem(fmt.Sprintf("cluster.members[%d]", i), `write it as "zot-0.zot:7373", or "dns:zot.prod.svc:7373" for a name that leads to all nodes`, "%v", err)
		}
	}
	checkExpect(k, r)
	if k.SecretFile == "" && k.hashKey == "" && k.HasOthers() {
		r.problem("cluster.secretFile", secretMend, "is required with more than one node")
	}
	if given := [...]bool{k.TLS.Cert != "", k.TLS.Key != "", k.TLS.CA != ""}; slices.Contains(given[:], true) && slices.Contains(given[:], false) {
		r.problem("cluster.tls", "give all three, or none to have certificates made from the secret", "cert, key and ca go together")
	}
	checkCopies(k, r)
}

func checkAdvertise(k *Cluster, r *reader) {
	if k.Advertise == "" {
		r.problem("cluster.advertise", `say it, as "zot-0.zot:7373"`, "does not follow from node, members and listen")
		return
	}
	if err := checkAddress(k.Advertise, false); err != nil {
		r.problem("cluster.advertise", `write it as "zot-0.zot:7373"`, "%v", err)
	}
}

func checkExpect(k *Cluster, r *reader) {
	const key = "cluster.bootstrapExpect"
	named := len(k.Members)
	if !slices.ContainsFunc(k.Members, func(m string) bool { return strings.EqualFold(m, k.Advertise) }) {
		named++ // this node itself
	}
	switch {
	case k.BootstrapExpect == 0 && k.searches():
		r.problem(key, "say how many nodes the first start waits for, as 3", `is required with "dns:"`)
	case k.BootstrapExpect == 1 && k.searches():
		r.problem(key, "say how many nodes the first start waits for, as 3",
			"1 with \"dns:\" would let a node whose name leads nowhere yet start a cluster of its own")
	case k.BootstrapExpect < 1:
		r.problem(key, "give 1 or more", "%d is no number of nodes", k.BootstrapExpect)
	case !k.searches() && k.BootstrapExpect > named:
		r.problem(key, "name them all in members, or lower it", "the first start would wait for %d nodes, and only %d are named", k.BootstrapExpect, named)
	case k.BootstrapExpect%2 == 0:
		r.note(key, "%d nodes survive the failure of no more nodes than %d do", k.BootstrapExpect, k.BootstrapExpect-1)
	}
}

// HasOthers reports whether other nodes are named or waited for.
func (c *Cluster) HasOthers() bool {
	others := func(m string) bool { return !strings.EqualFold(m, c.Advertise) }
	return c.BootstrapExpect > 1 || slices.ContainsFunc(c.Members, others)
}

func checkCopies(k *Cluster, r *reader) {
	if k.Replicas < 1 || k.Replicas > maxReplicas {
		r.problem("cluster.replicas", fmt.Sprintf("give 1 to %d", maxReplicas), "%d copies of a blob are not possible", k.Replicas)
		return
	}
	if k.WriteAcks < 1 || k.WriteAcks > k.Replicas {
		r.problem("cluster.writeAcks", fmt.Sprintf("give 1 to %d", k.Replicas), "%d copies cannot be waited for where %d are made", k.WriteAcks, k.Replicas)
	}
}

func checkName(r *reader, key, name string) {
	odd := func(c rune) bool {
		return !strings.ContainsRune("-_.", c) && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	switch {
	case len(name) > maxName:
		r.problem(key, fmt.Sprintf("at most %d are allowed", maxName), "has %d bytes", len(name))
	case strings.ContainsFunc(name, odd):
		r.problem(key, `use letters, digits, "-", "_" and "."`, "%q is no name", name)
	}
}

// checkAddress says what is wrong with a host:port; a listener may do without a host, and have port 0.
func checkAddress(address string, listener bool) error {
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no host:port", address)
	case host == "" && !listener:
		return fmt.Errorf("%q has no host", address)
	case strings.ContainsAny(host, " /\t"):
		return fmt.Errorf("%q is no host name", host)
	case port == "0" && !listener:
		return fmt.Errorf("port 0 of %q is nobody's", address)
	}
	return checkPort(port)
}

func checkPort(port string) error {
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is no port", port)
	}
	return nil
}
