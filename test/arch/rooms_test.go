// Package arch_test is the plan of the house (DESIGN 1) as a test: which room may enter which, where
// a library of others may be used, and what stands at the top of the repository.
//
// It reads what `go list` says of the module's own packages, test files left out: a test may import
// what it likes. Start with rooms and forbiddenEdges; each edge that is not there has its reason.
package arch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// rooms returns the rooms and what each may import of ours (DESIGN 1). A room is a folder with all
// below it, except what is a room of its own. "jobs/" stands for each folder below jobs; these are
// rooms apart, so that one job cannot lean on another.
func rooms() map[string][]string {
	all := []string{"cmd/zot/transfer", "api", "api/ui", "jobs/", "fsm", "blobstore", "auth", "fsm/oci", "cluster", "cluster/peer", "cluster/entry", "jobs"}
	return map[string][]string{
		"cmd/zot":          all,
		"test":             append([]string{"cmd/zot"}, all...),
		"cmd/zot/transfer": {"fsm/oci", "blobstore"},
		"api":              {"fsm", "fsm/oci", "blobstore", "auth"},
		"api/ui":           {"fsm", "fsm/oci", "blobstore", "auth", "api"},
		"jobs/":            {"fsm", "fsm/oci", "blobstore", "jobs"},
		"jobs":             {},
		"fsm":              {"fsm/oci", "cluster/entry"},
		"fsm/oci":          {},
		"blobstore":        {},
		"auth":             {},
		"cluster":          {"cluster/peer", "cluster/entry"},
		"cluster/entry":    {},
		"cluster/peer":     {},
	}
}

// edge forbids the rooms in from to import the rooms in to.
type edge struct {
	from, to []string
	why      string
}

const (
	notShipped = "what is built for tests must not be shipped"
	noReason   = "no reason given"
)

// forbiddenEdges returns why each arrow that the plan does not draw is not there.
func forbiddenEdges() []edge {
	is := func(rooms ...string) []string { return rooms }
	product := rooms()["cmd/zot"] // all rooms below it
	return []edge{
		{append(is("cmd/zot"), product...), is("test"), notShipped},
		{product, is("cmd/zot"), "configuration and wiring stay in cmd: who takes them from there can be used nowhere else"},
		{is("cmd/zot/transfer"), is("fsm", "cluster", "cluster/peer", "cluster/entry", "api", "api/ui", "jobs", "jobs/", "auth"), "it runs beside the node and is one more client of it; what it took from within would be done twice"},
		{is("api", "api/ui", "jobs", "jobs/", "fsm", "blobstore", "auth", "fsm/oci", "cluster", "cluster/peer", "cluster/entry"), is("cmd/zot/transfer"), "arrows only go down"},
		{is("api"), is("api/ui"), "the pages are one more client of the registry; the registry must work without them"},
		{is("api", "api/ui"), is("cluster", "cluster/peer", "cluster/entry"), "requests speak of repositories and commands; how an order is agreed on is behind small interfaces that cmd fills"},
		{is("api", "api/ui"), is("jobs", "jobs/"), "a request must not run a job: jobs run where the leader is, and change the world through commands"},
		{is("jobs/"), is("cluster", "cluster/peer", "cluster/entry"), "jobs do not know leadership; they are given a proposer bound to the term, and a context that ends with it"},
		{is("jobs/"), is("api", "api/ui"), "jobs have no client whom they answer"},
		{is("jobs/"), is("auth"), "jobs act for the cluster, not for a user"},
		{is("jobs/"), is("jobs/"), "a job that leans on another cannot be left out, and their order becomes a secret"},
		{is("jobs"), is("api", "api/ui", "jobs/", "fsm", "blobstore", "auth", "fsm/oci", "cluster", "cluster/peer", "cluster/entry"), "the runner repeats functions until a context ends; it does not know what they do or why it ends"},
		{is("fsm"), is("cluster", "cluster/peer"), "the state is tested without Raft, and executes only what it is handed"},
		{is("fsm"), is("blobstore"), "the state knows where bytes are said to be; to look would make it depend on one node's disk"},
		{is("fsm"), is("auth"), "what a caller may do reaches the state as conditions in the command"},
		{is("fsm"), is("api", "api/ui", "jobs", "jobs/"), "arrows only go down"},
		{is("fsm/oci"), is("fsm", "api", "api/ui", "jobs", "jobs/", "blobstore", "auth", "cluster", "cluster/peer", "cluster/entry"), "names and manifests mean the same whatever is stored of them"},
		{is("blobstore"), is("fsm", "fsm/oci"), "a store keeps bytes by digest; which repository may see them is not its business"},
		{is("blobstore"), is("cluster", "cluster/peer", "cluster/entry"), "a store knows other nodes only through replicated.Peers, so it is tested without any"},
		{is("blobstore"), is("api", "api/ui", "jobs", "jobs/", "auth"), "arrows only go down"},
		{is("auth"), is("fsm", "fsm/oci", "blobstore", "cluster", "cluster/peer", "cluster/entry"), "who somebody is and what they may is decided alike whatever is stored and wherever"},
		{is("auth"), is("api", "api/ui", "jobs", "jobs/"), "arrows only go down"},
		{is("cluster", "cluster/entry", "cluster/peer"), is("fsm", "fsm/oci", "blobstore", "auth", "api", "api/ui", "jobs", "jobs/"), "the log does not know what it replicates: an operation needs no remote call of its own"},
		{is("cluster/entry"), is("cluster", "cluster/peer"), "the envelope is what the log and the state share; it drags neither along"},
		{is("cluster/peer"), is("cluster", "cluster/entry"), "peers move frames and streams; what an entry is, only its two ends know"},
	}
}

// roomOf returns the room that the folder (relative to the module) is in, or "".
func roomOf(folder string) string {
	if job, ok := strings.CutPrefix(folder, "jobs/"); ok && job != "" {
		return "jobs/"
	}
	best := ""
	for room := range rooms() {
		if (folder == room || strings.HasPrefix(folder, room+"/")) && len(room) > len(best) {
			best = room
		}
	}
	return best
}

// isForTests reports whether a folder holds suites and helpers of tests, such as blobstore/storetest.
func isForTests(folder string) bool {
	return roomOf(folder) == "test" || strings.HasSuffix(folder, "test")
}

// sameRoom reports whether two folders are in the same room; each folder directly below jobs is one.
func sameRoom(a, b string) bool {
	if roomOf(a) != roomOf(b) {
		return false
	}
	if roomOf(a) != "jobs/" {
		return true
	}
	return strings.Split(a, "/")[1] == strings.Split(b, "/")[1]
}

// wrongTurns returns a line for each import of ours that the plan does not draw.
func wrongTurns(packages []pkg) []string {
	var found []string
	for _, p := range packages {
		from := roomOf(p.folder)
		if from == "" {
			found = append(found, fmt.Sprintf("%s is in none of the rooms of DESIGN 1", p.folder))
			continue
		}
		for _, folder := range p.ours {
			to := roomOf(folder)
			if isForTests(folder) && !isForTests(p.folder) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.folder, folder, notShipped))
				continue
			}
			if sameRoom(p.folder, folder) || slices.Contains(rooms()[from], to) && from != to {
				continue
			}
			found = append(found, fmt.Sprintf("%s imports %s: %s", p.folder, folder, reason(from, to)))
		}
	}
	return found
}

// reason returns why the room from may not import the room to.
func reason(from, to string) string {
	for _, e := range forbiddenEdges() {
		if slices.Contains(e.from, from) && slices.Contains(e.to, to) {
			return e.why
		}
	}
	return noReason
}

func TestRoomsImportOnlyWhatThePlanDraws(t *testing.T) {
	t.Parallel()
	for _, line := range wrongTurns(list(t)) {
		t.Error(line)
	}
}

// Every pair of rooms is an arrow of the plan or has a reason, and none is both.
func TestEveryMissingArrowHasItsReason(t *testing.T) {
	t.Parallel()
	for from, allowed := range rooms() {
		for to := range rooms() {
			given := reason(from, to) != noReason
			drawn := slices.Contains(allowed, to) || from == to && from != "jobs/" // jobs/ is many rooms
			if given == drawn {
				t.Errorf("%s -> %s: drawn %t, reason %t", from, to, drawn, given)
			}
		}
	}
}

// The test itself must be able to fail.
func TestWrongTurnsAreSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		from, to string
		wrong    bool
	}{
		"state to Raft":              {"fsm", "cluster", true},
		"state to envelope":          {"fsm", "cluster/entry", false},
		"log to state":               {"cluster", "fsm", true},
		"part of log to state":       {"cluster/any", "fsm", true},
		"log to peers":               {"cluster", "cluster/peer", false},
		"peers to log":               {"cluster/peer", "cluster", true},
		"nouns to state":             {"fsm/oci", "fsm", true},
		"part of a room to the rest": {"blobstore/replicated", "blobstore", false},
		"part to part":               {"blobstore/replicated", "blobstore/disk", false},
		"job to job":                 {"jobs/gc", "jobs/sync", true},
		"job to its own part":        {"jobs/sync", "jobs/sync/docker", false},
		"job to runner":              {"jobs/gc", "jobs", false},
		"runner to job":              {"jobs", "jobs/gc", true},
		"pages to API":               {"api/ui", "api", false},
		"API to pages":               {"api", "api/ui", true},
		"API to its extensions":      {"api", "api/ext", false},
		"API to configuration":       {"api", "cmd/zot/config", true},
		"main to all":                {"cmd/zot", "jobs/gc", false},
		"product to tests":           {"fsm", "test/crash/crashfs", true},
		"product to a suite":         {"blobstore/disk", "blobstore/storetest", true},
		"suite to product":           {"blobstore/storetest", "blobstore", false},
		"tests to a suite":           {"test/e2e", "blobstore/storetest", false},
		"no room":                    {"util", "fsm", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := wrongTurns([]pkg{{folder: test.from, ours: []string{test.to}}})
			if test.wrong != (len(found) == 1) {
				t.Errorf("found %q", found)
			}
		})
	}
}
