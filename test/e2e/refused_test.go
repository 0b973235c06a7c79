package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// A password or key that does not hold is told as that by each client, by its exit code too, and whoever has a right one
// is not held up.
func TestWrongPasswords(t *testing.T) {
	nodes, at := closed(t)
	key := apiKey(t, nodes[0].Address)
	revoke(t, nodes[1].Address)
	one, _ := onePlatform(t, 1500, 1<<20)
	app := at.Address + "/public/app:one"
	skopeo(t, "copy", "--dest-tls-verify=false", "--dest-creds", "alice:of alice", "oci:"+one.Dir+":one", "docker://"+app)
	private := at.Address + "/team/app:one"
	skopeo(t, "copy", "--dest-tls-verify=false", "--dest-creds", "alice:of alice", "oci:"+one.Dir+":one", "docker://"+private)
	engine, c := harness.StartEngine(t), harness.StartContainerd(t)
	load(t, engine, app, 0, images.Part{Seed: 1510, Size: 1000})
	const why = "unauthorized"
	for name, wrong := range map[string]string{"alice": key, "bob": "of alice", "nobody-here": "of nobody"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "auth.json"))
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			refused(t, "docker login", engine.Try(t, "login", "--username", name, "--password", wrong, at.Address), why)
			refused(t, "docker push", engine.Try(t, "push", app), why, "denied", "no basic auth credentials")
			refused(t, "skopeo copy", trySkopeo(t, "copy", "--dest-tls-verify=false", "--dest-creds", name+":"+wrong, "oci:"+one.Dir+":one", "docker://"+app), why)
			// Not even what everybody may: who says a name wants to be told that it does not hold.
			refused(t, "skopeo inspect", trySkopeo(t, "inspect", "--tls-verify=false", "--creds", name+":"+wrong, "docker://"+app), why)
			// It shows a name only where it has to.
			refused(t, "containerd's pull", c.Puller(t, at.Address, "", harness.Pair{}).Pull(t, private, name+":"+wrong), why, "401")
		})
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	crane(t, "auth", "login", at.Address, "-u", "dora", "-p", "of dora") // which asks nobody
	_, err := harness.TryRun(t, harness.Program(t, "CRANE"), "push", one.Dir, app)
	refused(t, "crane push", err, why)
	for _, name := range []string{"alice", "bob", "carl"} {
		skopeo(t, "inspect", "--tls-verify=false", "--creds", name+":of "+name, "docker://"+app)
	}
	engine.Feed(t, strings.NewReader("of bob"), "login", "--username", "bob", "--password-stdin", at.Address)
}

// revoke has alice end all her API keys.
func revoke(t *testing.T, at string) {
	t.Helper()
	ask := func(method, query string, into any) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+at+"/zot/auth/apikey"+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.SetBasicAuth("alice", "of alice")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // it is only read
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s", method, query, answer.Status)
		}
		if into == nil {
			return
		}
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	var keys struct{ APIKeys []struct{ UUID string } }
	ask(http.MethodGet, "", &keys)
	for _, key := range keys.APIKeys {
		ask(http.MethodDelete, "?id="+key.UUID, nil)
	}
}

// Who gives no name pulls what is public, and only that; who is logged in pushes to both, and pulls all (zot's issues 2928,
// 3538 and 4173). It all goes through HAProxy, each request to another node.
func TestPublicAndPrivate(t *testing.T) {
	nodes, _ := closed(t)
	balancer := harness.Balance(t, ours, nodes...)
	one, _ := onePlatform(t, 1550, 1<<20)
	want := in(t, one.Dir)
	public, private := balancer.Address+"/public/app", balancer.Address+"/team/app"
	for _, app := range []string{public, private} {
		skopeo(t, "copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", "alice:of alice", "oci:"+one.Dir+":one", "docker://"+app+":one")
	}

	t.Run("docker", func(t *testing.T) {
		engine := harness.StartEngine(t)
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		t.Cleanup(func() { engine.Forget(t, public+":one", private+":one") })
		engine.Run(t, "pull", public+":one")
		refused(t, "docker pull without a name", engine.Try(t, "pull", private+":one"), "authentication required", "unauthorized", "no basic auth credentials", "denied")
		own := map[string]string{}
		for i, app := range []string{public, private} {
			own[app] = app + ":docker"
			load(t, engine, own[app], 0, images.Part{Seed: 1560 + uint64(i), Size: 1 << 20})
			refused(t, "docker push without a name", engine.Try(t, "push", own[app]), "authentication required", "unauthorized", "no basic auth credentials", "denied")
		}
		engine.Feed(t, strings.NewReader("of bob"), "login", "--username", "bob", "--password-stdin", balancer.Address)
		for _, app := range []string{public, private} {
			engine.Run(t, "push", own[app])
			engine.Forget(t, own[app], app+":one")
			engine.Run(t, "pull", own[app])
			engine.Run(t, "pull", app+":one")
		}
		engine.Run(t, "logout", balancer.Address)
		engine.Forget(t, own[public])
		engine.Run(t, "pull", own[public])
		refused(t, "docker pull, logged out", engine.Try(t, "pull", own[private]), "authentication required", "unauthorized", "no basic auth credentials", "denied")
	})

	t.Run("skopeo and crane", func(t *testing.T) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "auth.json"))
		same(t, "public", in(t, pull(t, balancer.Address, "public/app:one")), want)
		refused(t, "skopeo", trySkopeo(t, "inspect", "--tls-verify=false", "docker://"+private+":one"), "unauthorized", "authentication required")
		same(t, "public", craneLayout(t, public+":one"), want)
		_, err := harness.TryRun(t, harness.Program(t, "CRANE"), "digest", private+":one")
		refused(t, "crane", err, "unauthorized")
		lists(t, crane(t, "catalog", balancer.Address), "public/app")
		crane(t, "auth", "login", balancer.Address, "-u", "carl", "-p", "of carl")
		lists(t, crane(t, "catalog", balancer.Address), "public/app", "team/app")
		crane(t, "copy", private+":one", balancer.Address+"/public/copied:one")
		same(t, "copied", craneLayout(t, balancer.Address+"/public/copied:one"), want)
	})

	t.Run("containerd", func(t *testing.T) {
		c := harness.StartContainerd(t)
		puller := c.Puller(t, balancer.Address, "", harness.Pair{})
		if err := puller.Pull(t, public+":one", ""); err != nil {
			t.Error(err)
		}
		hasAll(t, puller, want)
		refused(t, "containerd", puller.Pull(t, private+":one", ""), "unauthorized", "401", "authorization failed", "insufficient_scope")
		if err := puller.Pull(t, private+":one", "bob:of bob"); err != nil {
			t.Error(err)
		}
	})
	balancer.EveryServer(t, nodes)
}

// While a node dies and comes back, those who are logged in go on through HAProxy: what they were asking that node fails at
// most, never for want of a password, and what they try again succeeds.
func TestLoggedInWhileANodeDies(t *testing.T) {
	nodes, _ := closed(t)
	balancer := harness.Balance(t, ours, nodes...)
	engine, c := harness.StartEngine(t), harness.StartContainerd(t)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	engine.Feed(t, strings.NewReader("of alice"), "login", "--username", "alice", "--password-stdin", balancer.Address)
	one, _ := onePlatform(t, 1600, 4<<20)
	loaded := balancer.Address + "/team/docker:one"
	load(t, engine, loaded, 0, images.Part{Seed: 1610, Size: 4 << 20})
	app := func(client string, round int) string {
		return fmt.Sprintf("%s/team/%s-%d", balancer.Address, client, round)
	}
	clients := map[string]func(round int) error{
		"skopeo": func(round int) error {
			to := "docker://" + app("skopeo", round) + ":one"
			return errors.Join(
				trySkopeo(t, "copy", "--dest-tls-verify=false", "--dest-creds", "bob:of bob", "oci:"+one.Dir+":one", to),
				trySkopeo(t, "copy", "--src-tls-verify=false", "--src-creds", "bob:of bob", to, "oci:"+t.TempDir()+":pulled"))
		},
		"docker": func(round int) error {
			to := app("docker", round) + ":one"
			defer engine.Forget(t, to)
			return errors.Join(engine.Try(t, "tag", loaded, to), engine.Try(t, "push", to), engine.Try(t, "pull", to))
		},
		"containerd": func(round int) error {
			pusher, puller := c.Puller(t, balancer.Address, "", harness.Pair{}), c.Puller(t, balancer.Address, "", harness.Pair{})
			to := app("containerd", round)
			pusher.Import(t, one.Dir, to)
			return errors.Join(pusher.Push(t, to+":one", "carl:of carl"), puller.Pull(t, to+":one", "carl:of carl"))
		},
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	var rounds []<-chan struct{}
	for name, do := range clients {
		ended := make(chan struct{})
		rounds = append(rounds, ended)
		working.Go(func() { goesOn(t, name, do, ended, stop) })
	}
	defer func() { close(stop); working.Wait() }()
	two := func() {
		for _, ended := range slices.Repeat(rounds, 2) {
			<-ended
		}
	}
	for _, n := range nodes { // one of them leads
		two()
		n.Kill(t)
		two()
		n.Serve(t)
		harness.WaitWritable(t, nodes...)
	}
}

// goesOn has a client do something again and again, and says when it has, until it is told to stop. What fails may be tried
// once more.
func goesOn(t *testing.T, name string, do func(round int) error, ended chan<- struct{}, stop <-chan struct{}) {
	t.Helper()
	defer close(ended) // if do has ended the test, nobody waits for more
	for round := 0; ; round++ {
		if err := do(round); err != nil {
			t.Logf("%s, round %d: %v", name, round, err)
			said := strings.ToLower(err.Error())
			for _, word := range []string{"unauthorized", "denied", "authentication", "forbidden"} {
				if strings.Contains(said, word) {
					t.Errorf("%s is no longer logged in: %v", name, err)
				}
			}
			if err := do(round); err != nil {
				t.Errorf("%s, tried again: %v", name, err)
			}
		}
		select {
		case ended <- struct{}{}:
		case <-stop:
			return
		}
	}
}
