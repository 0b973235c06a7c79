package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// site is a machine on which a node of a cluster is to run, with a secretFile that need not be there yet.
type site struct {
	root, file, secret string
	port, address      string // of clients, and between nodes
}

// newMachine writes the configuration of a node whose section "cluster" has these further keys.
func newMachine(t *testing.T, node, keys string) site {
	t.Helper()
	return newMachineAt(t, "127.0.0.1", node, keys)
}

// newMachineAt is newMachine, which other nodes reach at an address.
func newMachineAt(t *testing.T, ip, node, keys string) site {
	t.Helper()
	ports := freePorts(t, 2)
	m := site{root: shortDir(t), port: ports[0], address: net.JoinHostPort(ip, ports[1])}
	m.secret = filepath.Join(m.root, "cluster-secret")
	m.configure(t, node, keys)
	return m
}

func (m *site) configure(t *testing.T, node, keys string) {
	t.Helper()
	m.file = configIn(t, m.root, fmt.Sprintf(`, "http": {"port": %q}, "cluster": {"name": "prod", "node": %q, "listen": %q, "advertise": %q, "secretFile": %q%s}`,
		m.port, node, m.address, m.address, m.secret, keys))
}

// token is the arguments of the command that the node there prints for a new machine with that configuration.
func (m *site) token(t *testing.T, file string) []string {
	t.Helper()
	printed := call("cluster", "token", "--config", m.file)
	words := strings.Fields(printed.stdout)
	if printed.code != exitDone || len(words) != 8 || strings.Join(words[:3], " ") != "zot cluster join" || words[3] != m.address ||
		!strings.Contains(printed.stderr, "good once, for an hour") {
		t.Fatalf("%+v", printed)
	}
	return append(words[1:7], file)
}

// join types that command on a machine, starts its node when the secret is there, and waits until the command ends.
func (m *site) join(t *testing.T, command []string) (stop func() error) {
	t.Helper()
	joined := make(chan called, 1)
	go func() { joined <- call(command...) }() // waited for below
	eventually(t, "the secret is there", func() bool {
		select {
		case got := <-joined:
			t.Fatalf("%+v", got)
		default:
		}
		_, noSecret := os.Stat(m.secret)
		_, nobody := os.Stat(filepath.Join(m.root, "node", membersName)) // the secret may be there from before
		return noSecret == nil && nobody == nil
	})
	eventually(t, "the place is free", func() bool {
		h := &home{path: filepath.Join(m.root, "node")}
		err := h.take()
		return err == nil && h.Close() == nil
	})
	stop = started(t, m.file)
	select {
	case got := <-joined:
		if got.code != exitDone || !strings.HasSuffix(got.stdout, "is a member of cluster prod, and votes\n") || got.stderr != "" {
			t.Fatalf("%+v", got)
		}
	case <-time.After(patience):
		t.Fatalf("the node has not become a member: %s", states(t, m.file))
	}
	return stop
}

// image pushes one and returns what must be found, by path.
func image(t *testing.T, port, tag string) map[string]string {
	t.Helper()
	at, content := "http://127.0.0.1:"+port+"/v2/team/app/", "layer of "+tag
	layer := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content)))
	sent(t, http.MethodPost, at+"blobs/uploads/?digest="+layer, content, http.StatusCreated)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[]}`, layer, len(content))
	sent(t, http.MethodPut, at+"manifests/"+tag, manifest, http.StatusCreated)
	return map[string]string{"/v2/team/app/manifests/" + tag: manifest, "/v2/team/app/blobs/" + layer: content}
}

func pulled(t *testing.T, port string, all map[string]string) {
	t.Helper()
	for path, want := range all {
		if code, body := got(t, "http://127.0.0.1:"+port+path); code != http.StatusOK || body != want {
			t.Errorf("%s of port %s: %d %q, want %q", path, port, code, body, want)
		}
	}
}

// states are the states of the nodes by name, as the node of a file sees them.
func states(t *testing.T, file string) string {
	t.Helper()
	var all []string
	for _, m := range asked(t, file).Members {
		s := m.Name + " " + m.State
		if m.Voter {
			s += " votes"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func TestJoinByToken(t *testing.T) {
	t.Parallel()
	first, second, third := newMachine(t, "zot-0", ""), newMachine(t, "zot-1", ""), newMachine(t, "zot-2", "")
	put(t, first.secret, line("a"), line("b"), "")
	started(t, first.file)
	command := first.token(t, second.file)
	stop := second.join(t, command)
	eventually(t, "both are members", func() bool { return states(t, first.file) == "zot-0 member votes, zot-1 member votes" })
	second.wantGiven(t, first.address, line("a")+"\n"+line("b")+"\n")
	if got := call(append(command[:len(command)-1:len(command)-1], third.file)...); got.code != exitFailed || !strings.Contains(got.stderr, "used by another machine, and each is good once: make a new one") {
		t.Errorf("a token for two machines: %+v", got)
	}
	if got := call(first.token(t, second.file)...); got.code != exitFailed || !strings.Contains(got.stderr, "another zot runs in") {
		t.Errorf("beside a node that runs: %+v", got)
	}

	// It is stopped and started without anything but its configuration.
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := call(first.token(t, second.file)...); got.code != exitFailed || !strings.Contains(got.stderr, "a node has been here already") {
		t.Errorf("where a node has been: %+v", got)
	}
	stop = started(t, second.file)

	// It is removed, and comes again.
	eventually(t, "the node is gone", func() bool { // whether it is let go may be unknown for a moment, when there is an election
		got := call("cluster", "remove", "zot-1", "--config", first.file)
		if got.code != exitDone && !strings.Contains(got.stderr, "unknown") && !strings.Contains(got.stderr, "no node is named") && !strings.Contains(got.stderr, "no quorum") {
			t.Fatalf("%+v", got)
		}
		return states(t, first.file) == "zot-0 member votes"
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	second.empty(t)
	second.join(t, first.token(t, second.file))
	pulled(t, first.port, image(t, second.port, "after"))
}

// TestNodeThatHoldsCopiesIsRemoved takes nodes that run and hold every blob out of a cluster, one after the other, and
// loses nothing: what they had is on those that stay. Between each other they speak IPv6.
func TestNodeThatHoldsCopiesIsRemoved(t *testing.T) {
	t.Parallel()
	first, second, third := newMachineAt(t, "::1", "zot-0", ""), newMachineAt(t, "::1", "zot-1", ""), newMachineAt(t, "::1", "zot-2", "")
	put(t, first.secret, line("a"), "")
	started(t, first.file)
	second.join(t, first.token(t, second.file))
	stopThird := third.join(t, first.token(t, third.file))
	eventually(t, "all three are members", func() bool {
		return states(t, third.file) == "zot-0 member votes, zot-1 member votes, zot-2 member votes"
	})
	all := map[string]string{}
	for n, port := range []string{first.port, second.port, third.port} {
		maps.Copy(all, image(t, port, fmt.Sprint("v", n)))
	}

	if got := call("cluster", "remove", "zot-2", "--config", second.file); got.code != exitDone {
		t.Fatalf("%+v", got)
	}
	eventually(t, "the third is gone", func() bool { return states(t, first.file) == "zot-0 member votes, zot-1 member votes" })
	if err := stopThird(); err != nil {
		t.Error(err)
	}
	pulled(t, second.port, all)
	maps.Copy(all, image(t, second.port, "two"))

	// The first, which may lead; then one is left.
	if got := call("cluster", "remove", "zot-0", "--config", second.file); got.code != exitDone {
		t.Fatalf("%+v", got)
	}
	eventually(t, "the first is gone", func() bool { return states(t, second.file) == "zot-1 member votes" })
	pulled(t, second.port, all)
	pulled(t, second.port, image(t, second.port, "one"))
}

// wantGiven looks at what a machine was given.
func (m *site) wantGiven(t *testing.T, address, secret string) {
	t.Helper()
	info, err := os.Stat(m.secret)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{m.secret: secret, filepath.Join(m.root, "node", "members"): address + "\n"} {
		if content, err := os.ReadFile(file); err != nil || string(content) != want || info.Mode().Perm() != 0o600 {
			t.Errorf("%s with mode %v holds %q, want %q; %v", file, info.Mode(), content, want, err)
		}
	}
	if _, err := os.Stat(filepath.Join(m.root, "node", "joiner")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("who asked is still written down: %v", err)
	}
}

// empty empties the root directory but for the secret.
func (m *site) empty(t *testing.T) {
	t.Helper()
	all, err := os.ReadDir(m.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if name := filepath.Join(m.root, e.Name()); name != m.secret {
			if err := os.RemoveAll(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOneBecomesThree adds the section to a cluster of one that holds an image, and two nodes: one by a token, one
// that has the secret and names the first among its members.
func TestOneBecomesThree(t *testing.T) {
	t.Parallel()
	first, second := newMachine(t, "zot-0", ""), newMachine(t, "zot-1", "")
	third := newMachine(t, "zot-2", fmt.Sprintf(`, "members": [%q]`, first.address))
	alone := configIn(t, first.root, fmt.Sprintf(`, "http": {"port": %q}`, first.port))
	stop := started(t, alone)
	before := image(t, first.port, "alone")
	was := asked(t, alone).Members[0].Incarnation
	if got := call("cluster", "token", "--config", alone); got.code != exitFailed || !strings.Contains(got.stderr, `"secretFile"`) {
		t.Errorf("a token of a node that nobody can reach: %+v", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	put(t, first.secret, line("a"), "")
	stops := []func() error{started(t, first.file)}
	pulled(t, first.port, before)
	stops = append(stops, second.join(t, first.token(t, second.file)))
	put(t, third.secret, line("a"), "")
	stops = append(stops, started(t, third.file))
	all := []site{first, second, third}
	eventually(t, "all three are members", func() bool {
		return states(t, third.file) == "zot-0 member votes, zot-1 member votes, zot-2 member votes"
	})
	eventually(t, "one may fail", func() bool { return asked(t, second.file).FailureTolerance == 1 })
	if s := asked(t, second.file); incarnationOf(s, "zot-0") != was.String() {
		t.Errorf("%+v, zot-0 was %s", s, was)
	}
	after := image(t, third.port, "three")
	for _, m := range all {
		pulled(t, m.port, before)
		pulled(t, m.port, after)
	}

	// What was pushed while there was one gets its copies. Then that one is not needed.
	eventually(t, "every node has a copy of all", func() bool {
		want := len(copiesIn(t, first.root))
		return want >= 2 && len(copiesIn(t, second.root)) >= want && len(copiesIn(t, third.root)) >= want &&
			asked(t, second.file).Blobs == blobHealth{} && asked(t, third.file).Blobs == blobHealth{} // and each knows it
	})
	if err := stops[0](); err != nil {
		t.Error(err)
	}
	pulled(t, second.port, before)
	pulled(t, third.port, before)
	pulled(t, second.port, after)
	pulled(t, third.port, image(t, second.port, "two"))
	again := started(t, first.file)
	pulled(t, first.port, before)
	for _, stop := range append(stops[1:], again) {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}
