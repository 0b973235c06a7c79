package e2e_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// oursTLS is the balancer's configuration that users are given whose nodes have TLS.
const oursTLS = "../../deploy/haproxy/haproxy-tls.cfg"

// certified runs three nodes with TLS, to which alice may push and from which bob may pull, each by a certificate; with
// rules for those who have none, and a balancer before them, which has none either.
func certified(t *testing.T, who *harness.Authority, anonymous map[string]any) ([]*harness.Node, *harness.Balancer) {
	t.Helper()
	harness.Program(t, "ZOT") // no keys for a test that will be skipped
	repositories := map[string]any{"team/**": map[string]any{"policies": []any{
		map[string]any{"users": []string{"alice"}, "actions": []string{"read", "create", "update", "delete"}},
		map[string]any{"users": []string{"bob"}, "actions": []string{"read"}},
	}}}
	maps.Copy(repositories, anonymous)
	server := who.Server(t)
	plan := harness.Plan{
		HTTP: map[string]any{
			"tls":           map[string]any{"cert": server.Cert, "key": server.Key, "cacert": who.File},
			"accessControl": map[string]any{"repositories": repositories},
		},
		Client: who.Trusting(t, harness.Pair{}),
	}
	nodes := harness.StartEach(t, slices.Repeat([]harness.Plan{plan}, 3)...)
	return nodes, harness.Balance(t, oursTLS, nodes...)
}

// addresses are where nodes are reached: through the balancer, and each by itself.
func addresses(nodes []*harness.Node, balancer *harness.Balancer) []string {
	all := []string{balancer.Address}
	for _, n := range nodes {
		all = append(all, n.Address)
	}
	return all
}

// refused sees to it that something failed, and that the program said why.
func refused(t *testing.T, what string, err error, why ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: it is not refused", what)
		return
	}
	said := strings.ToLower(err.Error())
	if !slices.ContainsFunc(why, func(w string) bool { return strings.Contains(said, w) }) {
		t.Errorf("%s: %v; want one of %q", what, err, why)
	}
}

// turnedAway sees to it that somebody whose certificate is not believed never gets through, and is told why. Who is turned away
// may hear that the connection is gone before they hear for what reason; then they ask again.
func turnedAway(t *testing.T, n *harness.Node, who *harness.Authority, shows harness.Pair) {
	t.Helper()
	harness.Until(t, n.Name+" says why it turns a certificate away", func(context.Context) error {
		err := get(t, who.Trusting(t, shows), n.URL("/v2/"), 0)
		if err == nil {
			t.Fatal("another's alice: it is not refused")
		}
		if said := err.Error(); strings.Contains(said, "unknown certificate authority") || strings.Contains(said, "bad certificate") {
			return nil
		}
		return err
	})
}

// hasAll sees to it that a client of containerd has what was pushed.
func hasAll(t *testing.T, p *harness.Puller, want content) {
	t.Helper()
	has := p.Has(t)
	for _, d := range want.list() {
		if !slices.Contains(has, d.String()) {
			t.Errorf("containerd has not got %s of %v", d, want.list())
		}
	}
}

// certDir is a directory as Docker, podman and skopeo have one for a registry.
func certDir(t *testing.T, who *harness.Authority, shows harness.Pair) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"ca.crt": who.File}
	if shows != (harness.Pair{}) {
		files["client.cert"], files["client.key"] = shows.Cert, shows.Key
	}
	for name, file := range files {
		if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// trySkopeo runs skopeo where it may fail.
func trySkopeo(t *testing.T, arguments ...string) error {
	t.Helper()
	_, err := harness.TryRun(t, "skopeo", append([]string{"--insecure-policy"}, arguments...)...)
	return err
}

// Who shows a certificate is who it says, at every node; nobody else gets in where everybody has to have one.
func TestClientCertificates(t *testing.T) {
	who, other := harness.NewAuthority(t), harness.NewAuthority(t)
	nodes, balancer := certified(t, who, nil)
	alice, bob, mallory := who.Client(t, "alice"), who.Client(t, "bob"), who.Client(t, "mallory")
	one, _ := onePlatform(t, 1400, 2<<20, 100)
	want := in(t, one.Dir)

	t.Run("containerd", func(t *testing.T) {
		c := harness.StartContainerd(t)
		pusher := c.Puller(t, balancer.Address, who.File, alice)
		pusher.Import(t, one.Dir, balancer.Address+"/team/containerd")
		if err := pusher.Push(t, balancer.Address+"/team/containerd:one", ""); err != nil {
			t.Fatal(err)
		}
		for _, at := range addresses(nodes, balancer) {
			name := at + "/team/containerd:one"
			puller := c.Puller(t, at, who.File, bob)
			if err := puller.Pull(t, name, ""); err != nil {
				t.Error(err)
			}
			hasAll(t, puller, want)
			puller.Import(t, one.Dir, at+"/team/bobs")
			refused(t, "bob pushes", puller.Push(t, at+"/team/bobs:one", ""), "403")
			refused(t, "mallory, of whom no policy speaks", c.Puller(t, at, who.File, mallory).Pull(t, name, ""), "403")
			refused(t, "nobody", c.Puller(t, at, who.File, harness.Pair{}).Pull(t, name, ""), "401 unauthorized")
			refused(t, "another's alice", c.Puller(t, at, who.File, other.Client(t, "alice")).Pull(t, name, ""), "401 unauthorized") // it keeps it back
		}
	})

	t.Run("skopeo", func(t *testing.T) { // as podman
		to := func(at string) string { return "docker://" + at + "/team/skopeo:1" }
		copies := func(at, dir string) error {
			return trySkopeo(t, "copy", "--preserve-digests", "--dest-cert-dir", dir, "oci:"+one.Dir+":one", to(at))
		}
		if err := copies(nodes[0].Address, certDir(t, who, alice)); err != nil {
			t.Fatal(err)
		}
		for _, at := range addresses(nodes, balancer) {
			dir := t.TempDir()
			skopeo(t, "copy", "--preserve-digests", "--src-cert-dir", certDir(t, who, bob), to(at), "oci:"+dir+":pulled")
			same(t, "pulled", in(t, dir), want)
			refused(t, "bob pushes", copies(at, certDir(t, who, bob)), "denied")
			refused(t, "nobody pushes", copies(at, certDir(t, who, harness.Pair{})), "authentication required")
			refused(t, "bob deletes", trySkopeo(t, "delete", "--cert-dir", certDir(t, who, bob), to(at)), "denied", "403")
		}
		skopeo(t, "delete", "--cert-dir", certDir(t, who, alice), to(balancer.Address))
	})

	t.Run("docker", func(t *testing.T) {
		engine := harness.StartEngine(t)
		_, port, err := net.SplitHostPort(balancer.Address)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		address, show := engine.Certified(t, number)
		name, part := address+"/team/docker:1", images.Part{Seed: 1410, Size: 1 << 20}
		id := load(t, engine, name, 0, part)
		show(who.File, alice)
		engine.Run(t, "push", name)
		show(who.File, bob)
		engine.Forget(t, name)
		engine.Run(t, "pull", name)
		holds(t, engine, name, id, part)
		engine.Run(t, "tag", name, address+"/team/bobs:1")
		t.Cleanup(func() { engine.Forget(t, address+"/team/bobs:1") })
		refused(t, "bob pushes", engine.Try(t, "push", address+"/team/bobs:1"), "denied")
		for what, shown := range map[string]harness.Pair{"nobody": {}, "another's alice": other.Client(t, "alice")} {
			show(who.File, shown)
			refused(t, what, engine.Try(t, "pull", name), "a client certificate is needed")
		}
		show(other.File, alice)
		refused(t, "alice, at another's", engine.Try(t, "pull", name), "unknown authority")
	})

	// A client that shows it whatever the server asks for is turned away as well.
	for _, n := range nodes {
		if err := get(t, other.Trusting(t, other.Client(t, "alice")), n.URL("/v2/"), 0); err == nil {
			t.Error("who trusts another authority got through")
		}
		turnedAway(t, n, who, other.Client(t, "alice"))
		if err := get(t, who.Trusting(t, harness.Pair{}), n.URL("/v2/"), http.StatusUnauthorized); err != nil {
			t.Error(err)
		}
	}
}

// Where something is for everybody, a certificate need not be shown; one that is must be right.
func TestClientCertificatesAndNobody(t *testing.T) {
	who, other := harness.NewAuthority(t), harness.NewAuthority(t)
	nodes, balancer := certified(t, who, map[string]any{"public/**": map[string]any{
		"policies":        []any{map[string]any{"users": []string{"alice"}, "actions": []string{"read", "create"}}},
		"anonymousPolicy": []string{"read"},
	}})
	one, _ := onePlatform(t, 1450, 1<<20)
	c := harness.StartContainerd(t)
	alice := c.Puller(t, balancer.Address, who.File, who.Client(t, "alice"))
	for _, repository := range []string{"public/app", "team/app"} {
		alice.Import(t, one.Dir, balancer.Address+"/"+repository)
		if err := alice.Push(t, balancer.Address+"/"+repository+":one", ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range addresses(nodes, balancer) {
		for name, shows := range map[string]harness.Pair{"nobody": {}, "another's alice, who keeps it back": other.Client(t, "alice")} {
			puller := c.Puller(t, at, who.File, shows)
			if err := puller.Pull(t, at+"/public/app:one", ""); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			hasAll(t, puller, in(t, one.Dir))
			refused(t, name+" pulls", puller.Pull(t, at+"/team/app:one", ""), "403")
			puller.Import(t, one.Dir, at+"/public/theirs")
			refused(t, name+" pushes", puller.Push(t, at+"/public/theirs:one", ""), "403")
		}
	}
	for _, n := range nodes {
		if err := get(t, who.Trusting(t, who.Client(t, "bob")), n.URL("/v2/team/app/tags/list"), http.StatusOK); err != nil {
			t.Error(err)
		}
		if err := get(t, who.Trusting(t, harness.Pair{}), n.URL("/v2/team/app/tags/list"), http.StatusForbidden); err != nil {
			t.Error(err)
		}
		turnedAway(t, n, who, other.Client(t, "alice"))
	}
}
