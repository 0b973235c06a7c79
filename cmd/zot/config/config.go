// Package config is zot's configuration file: from bytes to a Config whose every value is checked, or
// to a list of all that is wrong with it.
//
// It knows what a key means and what it may hold; it builds nothing from it, and no package but
// cmd/zot may import it. Start with Config, the typed form; format.go tells JSON, YAML and TOML apart,
// parse.go reads the keys, the files unbuilt have those that are not acted on, default.go has what holds
// for those that are not there, check.go says what speaks against the rest. The same readers make the
// schema for editors (schema.go): what they ask for is recorded.
package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// Config is a configuration file with its defaults filled in.
type Config struct {
	DistSpecVersion string
	Storage         Storage
	HTTP            HTTP
	Log             Log
	Cluster         Cluster
	Extensions      Extensions
	Workers         int // of the work for no client that costs much, at a time; 0: any number
}

// Cluster says who this node is, and with whom it forms a cluster.
type Cluster struct {
	Alone           bool // a cluster of one, without a port for others: the file has no section "cluster", or one of quotas
	Name            string
	Node            string
	Zone            string
	Listen          string
	Advertise       string
	Members         []string // host:port, or DNSPrefix and host:port
	BootstrapExpect int
	SecretFile      string
	TLS             TLS
	Replicas        int
	WriteAcks       int
	Reads           string
	Timing          string
	Quotas          []Quota        // in the order of their prefixes
	TrustedProxies  []netip.Prefix // whom to believe for which clients they send requests

	hashKey string // marks the section of another design, which zot has had since 2.1
}

// TLS names certificates of one's own for the port between nodes; all of them or none.
type TLS struct {
	Cert, Key, CA string
}

// Copies is how many copies of a blob a store should have, and how many of them a push waits for: one of what is in a
// bucket, for all nodes.
func (c Config) Copies(s Store) (replicas, writeAcks int) {
	if s.Bucket != nil {
		return 1, 1
	}
	return c.Cluster.Replicas, c.Cluster.WriteAcks
}

// DNSPrefix begins an entry of members that is a name to look up at each ask, not one node.
const DNSPrefix = "dns:"

// Note is what a person should know of a file that is valid all the same.
type Note struct {
	Key  string // path of the key
	Text string
}

// Load reads the file at path. The notes are valid with an error too, and so are those parts of the
// Config that no problem names.
//
// Its error is a Problems if the file could be read.
func Load(path string) (Config, []Note, error) {
	data, err := Read(path)
	if err != nil {
		return Config{}, nil, err
	}
	return parseHere(path, data)
}

// Read returns what the file at path holds.
func Read(path string) ([]byte, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the operator names his own file
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return data, nil
}

// parseHere is Parse on this machine.
func parseHere(path string, data []byte) (Config, []Note, error) {
	host, err := os.Hostname()
	if err != nil {
		return Config{}, nil, fmt.Errorf("ask for the host name: %w", err)
	}
	return Parse(path, data, host)
}

// Problem is one thing that is wrong with a configuration, with the way to mend it.
type Problem struct {
	Key  string // path of the key; "" for the file as a whole
	Text string
	Mend string // may be ""

	// Serving is set for what keeps a node from being served and is no mistake in the file, since zot takes such
	// files: `zot verify` only warns of it.
	Serving bool
}

// String is one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Mend != "" {
		b.WriteString("; " + p.Mend)
	}
	return b.String()
}

// Problems is everything that is wrong with a configuration, in the order of the file's sections.
type Problems []Problem

// Error has a line for each.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p)+1)
	if len(p) == 1 {
		return p[0].String()
	}
	lines = append(lines, fmt.Sprintf("%d problems", len(p)))
	for _, problem := range p {
		lines = append(lines, "  "+problem.String())
	}
	return strings.Join(lines, "\n")
}

// orNil avoids the interface that is not nil but holds nothing.
func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
