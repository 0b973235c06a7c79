package arch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// confined says which rooms alone may import a library (its path, and all below it).
type confined struct {
	library string
	rooms   []string
	why     string
}

// confinedLibraries returns the libraries that some room keeps to itself. Every room named here hides
// a library behind words of its own, so that one room changes when the library does.
func confinedLibraries() []confined {
	return []confined{
		{"github.com/hashicorp/raft", []string{"cluster"}, "who else speaks Raft has a second opinion on who leads"},
		{"github.com/hashicorp/raft-boltdb", []string{"cluster"}, "the log's known holes are closed in one wrapper; a way around it opens them"},
		{"github.com/hashicorp/memberlist", []string{"cluster/peer"}, "gossip suggests addresses; it must not become an input to removal, durability or reads"},
		{"go.etcd.io/bbolt", []string{"fsm", "cluster", "cmd/zot/transfer"}, "fsm.db and raft.db are each written by one owner; an import reads what another zot has left"},
		{"oras.land/oras-go/v2", []string{"cmd/zot/transfer"}, "who else pulls from other registries has a second opinion on how they answer"},
		{"github.com/boltdb/bolt", nil, "the unmaintained ancestor of bbolt"},
		{"github.com/go-jose/go-jose", []string{"auth"}, "who else reads a token could believe what another would not"},
		{"cel.dev/cel-go", []string{"auth"}, "an expression of a configuration ends at its cost, and sees nothing but what it is given"},
		{"github.com/coreos/go-oidc", []string{"auth"}, "who else asks an issuer for its keys could believe what another would not"},
		{"github.com/spf13/cobra", []string{"cmd/zot"}, "flags and commands are the configuration's, and that stays in cmd"},
		{"github.com/spf13/pflag", []string{"cmd/zot"}, "flags and commands are the configuration's, and that stays in cmd"},
		{"go.yaml.in/yaml/v3", []string{"cmd/zot"}, "files that people write are the configuration's, and that stays in cmd"},
		{"github.com/BurntSushi/toml", []string{"cmd/zot"}, "files that people write are the configuration's, and that stays in cmd"},
		{"github.com/oklog/run", []string{"cmd/zot"}, "the order of actors is the order of shutdown; it stands in one place"},
		{"github.com/aws", []string{"blobstore", "auth"}, "who else speaks to AWS finds credentials, and waits, in a way of its own"},
		{"github.com/aws/aws-sdk-go-v2/service/s3", []string{"blobstore"}, "who speaks to a bucket besides the store could write where only copies are written"},
		{"github.com/aws/aws-sdk-go-v2/service/dynamodb", []string{"blobstore"}, "hints of what is in a bucket are of use to its store alone"},
		{"github.com/aws/aws-sdk-go-v2/service/secretsmanager", []string{"auth"}, "who else reads the keys of tokens could believe what another would not"},
		{"golang.org/x/time", []string{"api"}, "how many requests are too many is decided in one place, before any of them is answered"},
		{"github.com/go-ldap/ldap", []string{"auth"}, "who else speaks LDAP binds without what keeps a slow server from holding requests"},
		{"github.com/coreos/go-oidc", []string{"auth"}, "who else reads an ID token could believe what another would not"},
		{"golang.org/x/oauth2", []string{"auth"}, "who else sends a browser to a provider could forget what keeps others from ending its login"},
		{"github.com/gorilla/sessions", []string{"auth"}, "a session counts beside a header alone, and is in the replicated state; there is one place that sees to both"},
		{"github.com/notaryproject", []string{"auth"}, "who else verifies signatures could trust whom no administrator trusts, and it asks other servers"},
		{"github.com/veraison/go-cose", []string{"auth"}, "it reads envelopes of signatures, as notation does; who else reads them could believe what another would not"},
		{"github.com/oauth2-proxy/mockoidc", nil, "a provider for tests"},
		{"github.com/golang-jwt/jwt", nil, "what that provider says, in tests"},
		{"github.com/go-asn1-ber/asn1-ber", nil, "the answers of an LDAP server for tests"},
		{"github.com/johannesboyne/gofakes3", nil, "a bucket for tests"},
		{"github.com/santhosh-tekuri/jsonschema", nil, "checks in tests that the schema of the configuration takes what loads"},
		{"github.com/anishathalye/porcupine", nil, "checks histories in tests"},
		{"pgregory.net/rapid", nil, "draws inputs for tests"},
		{"go.uber.org/goleak", nil, "looks for leaked goroutines in tests"},
		{"github.com/hanwen/go-fuse", nil, "the file system that loses power in tests"},
		{"flag", []string{"cmd/zot"}, "flags and commands are the configuration's, and that stays in cmd"},
		{"plugin", nil, "parts are values, not files found at run time"},
		{"unsafe", nil, "nothing here is worth it"},
	}
}

// pure returns what rooms without clock, chance or network may not import, directly or through other
// packages of ours. What a library does inside is its own: bbolt and CBOR are chosen with care.
func pure() []confined {
	deterministic := []string{"fsm", "fsm/oci", "cluster/entry"}
	const (
		chance  = "replicas that draw differently differ for ever"
		network = "an answer from the network would be another on each replica"
	)
	return []confined{
		{"math/rand", deterministic, chance},
		{"crypto/rand", deterministic, chance},
		{"net", deterministic, network},
		{"os/exec", deterministic, "another program's answer would be another on each replica"},
		{"os/user", deterministic, "the environment is another on each replica"},
		{"golang.org/x/net", deterministic, network},
		{"github.com/hashicorp/raft", deterministic, "the state is tested without Raft, and executes only what it is handed"},
		{"github.com/hashicorp/memberlist", deterministic, network},
	}
}

// within reports whether an import path is the library or below it.
func within(path, library string) bool {
	return path == library || strings.HasPrefix(path, library+"/")
}

// strayImports returns a line for each library that is imported where it may not be.
func strayImports(packages []pkg) []string {
	var found []string
	byFolder := map[string]pkg{}
	for _, p := range packages {
		byFolder[p.folder] = p
	}
	for _, p := range packages {
		room := roomOf(p.folder)
		if isForTests(p.folder) {
			continue // wrongTurns sees to it that nothing shipped imports it
		}
		for _, c := range confinedLibraries() {
			if path := imports(p, c.library); path != "" && !slices.Contains(c.rooms, room) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.folder, path, c.why))
			}
		}
		for _, c := range pure() {
			if !slices.Contains(c.rooms, room) {
				continue
			}
			for _, reached := range reach(p, byFolder) {
				if path := imports(reached, c.library); path != "" {
					found = append(found, fmt.Sprintf("%s reaches %s through %s: %s", p.folder, path, reached.folder, c.why))
				}
			}
		}
	}
	return found
}

// imports returns the first import of p that is the library, or "".
func imports(p pkg, library string) string {
	for _, path := range p.others {
		if within(path, library) {
			return path
		}
	}
	return ""
}

// reach returns p and all packages of ours that it imports, directly or not.
func reach(p pkg, byFolder map[string]pkg) []pkg {
	reached := []pkg{p}
	for i := 0; i < len(reached); i++ {
		for _, folder := range reached[i].ours {
			next, ok := byFolder[folder]
			if ok && !slices.ContainsFunc(reached, func(q pkg) bool { return q.folder == folder }) {
				reached = append(reached, next)
			}
		}
	}
	return reached
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	t.Parallel()
	for _, line := range strayImports(list(t)) {
		t.Error(line)
	}
}

// The test itself must be able to fail.
func TestStrayImportsAreSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		packages []pkg
		want     int
	}{
		"Raft in cluster":         {[]pkg{{folder: "cluster", others: []string{"github.com/hashicorp/raft"}}}, 0},
		"Raft in api":             {[]pkg{{folder: "api", others: []string{"github.com/hashicorp/raft"}}}, 1},
		"raft-boltdb is not Raft": {[]pkg{{folder: "api", others: []string{"github.com/hashicorp/raft-boltdb/v2"}}}, 1},
		"Raft in peer":            {[]pkg{{folder: "cluster/peer", others: []string{"github.com/hashicorp/raft"}}}, 1},
		"memberlist in cluster":   {[]pkg{{folder: "cluster", others: []string{"github.com/hashicorp/memberlist"}}}, 1},
		"cobra in cmd":            {[]pkg{{folder: "cmd/zot", others: []string{"github.com/spf13/cobra"}}}, 0},
		"cobra in jobs":           {[]pkg{{folder: "jobs/gc", others: []string{"github.com/spf13/cobra"}}}, 1},
		"bbolt in fsm":            {[]pkg{{folder: "fsm", others: []string{"go.etcd.io/bbolt/errors"}}}, 0},
		"bbolt in auth":           {[]pkg{{folder: "auth", others: []string{"go.etcd.io/bbolt"}}}, 1},
		"chance in fsm":           {[]pkg{{folder: "fsm", others: []string{"math/rand/v2"}}}, 1},
		"network in fsm":          {[]pkg{{folder: "fsm", others: []string{"net/http"}}}, 1},
		"network in blobstore":    {[]pkg{{folder: "blobstore/s3", others: []string{"net/http"}}}, 0},
		"chance through the envelope": {
			[]pkg{{folder: "fsm", ours: []string{"cluster/entry"}}, {folder: "cluster/entry", others: []string{"crypto/rand"}}},
			2, // the envelope itself, and the state through it
		},
		"random words that only begin alike": {[]pkg{{folder: "fsm", others: []string{"netip/x", "network"}}}, 0},
		"in tests":                           {[]pkg{{folder: "test/chaos", others: []string{"github.com/anishathalye/porcupine"}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if found := strayImports(test.packages); len(found) != test.want {
				t.Errorf("found %q, want %d", found, test.want)
			}
		})
	}
}
