package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// scribe sends each request to another node, and notes how it says who asks.
type scribe struct {
	Address string

	mu   sync.Mutex
	seen []string // "METHOD /path scheme status"
}

// note writes down an answered request.
func (s *scribe) note(r *http.Response) error {
	scheme, _, _ := strings.Cut(r.Request.Header.Get("Authorization"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, fmt.Sprintf("%s %s %s %d", r.Request.Method, r.Request.URL.Path, scheme, r.StatusCode))
	return nil
}

// take returns what was noted since the last time.
func (s *scribe) take() (seen []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, s.seen = s.seen, nil
	return seen
}

// before is a scribe before some nodes, until the test ends.
func before(t *testing.T, nodes []*harness.Node) *scribe {
	t.Helper()
	s := &scribe{}
	next := 0
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			s.mu.Lock()
			defer s.mu.Unlock()
			next++
			p.SetURL(&url.URL{Scheme: "http", Host: nodes[next%len(nodes)].Address})
			p.Out.Host = p.In.Host
		},
		ModifyResponse: s.note,
	}
	server := httptest.NewServer(&proxy)
	t.Cleanup(server.Close)
	s.Address = strings.TrimPrefix(server.URL, "http://")
	return s
}

// tokensAlone sees to it that a program asked for a token, and needed no password for anything else.
func tokensAlone(t *testing.T, what string, s *scribe) {
	t.Helper()
	asked, used := false, false
	seen := s.take()
	for _, line := range seen {
		token, basic := strings.Contains(line, " /zot/auth/token "), strings.Contains(line, " Basic ")
		asked, used = asked || token, used || strings.Contains(line, " Bearer 2")
		if basic && !token {
			t.Errorf("%s sends a password: %s", what, line)
		}
	}
	if !asked || !used {
		t.Errorf("%s: token asked for %t, used %t:\n%s", what, asked, used, strings.Join(seen, "\n"))
	}
}

// crypted are lines of SHA-crypt, as `openssl passwd -6` and `-5` make them: of bob and of carl.
const crypted = `bob:$6$ofthetests$pziYKO9oBkOgmt0zyxpg4M1rrL780rvw5Q9W.vk4Noj8dNoNT4JfhmCKcMcthmVcgoVOlMYuDq14AiMF1rR/A1
carl:$5$ofthetests$DGUggBFbHDoPHN8krUzIy7Gnv6mek3nUwmaKAoXODN5
`

// closed runs three nodes that alice, bob and carl may push to, and from which everybody may pull what is public. Their
// passwords are "of alice" and so on.
func closed(t *testing.T) ([]*harness.Node, *scribe) {
	t.Helper()
	harness.Program(t, "ZOT") // no hashing for a test that will be skipped
	hash, err := bcrypt.GenerateFromPassword([]byte("of alice"), bcrypt.DefaultCost)
	if err != nil {
		t.Fatal(err)
	}
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(passwords, []byte("alice:"+string(hash)+"\n"+crypted), 0o600); err != nil {
		t.Fatal(err)
	}
	policies := []any{map[string]any{"users": []string{"alice", "bob", "carl"}, "actions": []string{"read", "create", "update", "delete"}}}
	section := map[string]any{
		"auth": map[string]any{"htpasswd": map[string]any{"path": passwords}, "apikey": true},
		"accessControl": map[string]any{"repositories": map[string]any{
			"**":        map[string]any{"policies": policies},
			"public/**": map[string]any{"policies": policies, "anonymousPolicy": []string{"read"}},
		}},
	}
	nodes := harness.StartEach(t, slices.Repeat([]harness.Plan{{HTTP: section}}, 3)...)
	return nodes, before(t, nodes)
}

// apiKey has alice make an API key.
func apiKey(t *testing.T, at string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at+"/zot/auth/apikey", strings.NewReader(`{"label": "ci"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("alice", "of alice")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	body, err := io.ReadAll(answer.Body)
	made := struct{ APIKey string }{}
	if err != nil || json.Unmarshal(body, &made) != nil || made.APIKey == "" {
		t.Fatalf("%s %s: %v", answer.Status, body, err)
	}
	return made.APIKey
}

// Who logs in once sends a password to the token service alone, whichever node answers each request.
func TestLogin(t *testing.T) {
	nodes, at := closed(t)
	key := apiKey(t, nodes[0].Address)
	one, _ := onePlatform(t, 1200, 2<<20, 100)
	want := in(t, one.Dir)

	t.Run("skopeo", func(t *testing.T) {
		for n, password := range []string{"of alice", key} {
			name := fmt.Sprintf("docker://%s/team/skopeo:%d", at.Address, n)
			skopeo(t, "copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", "alice:"+password, "oci:"+one.Dir+":one", name)
			tokensAlone(t, "skopeo copy to", at)
			dir := t.TempDir()
			skopeo(t, "copy", "--preserve-digests", "--src-tls-verify=false", "--src-creds", "alice:"+password, name, "oci:"+dir+":pulled")
			tokensAlone(t, "skopeo copy from", at)
			same(t, "pulled", in(t, dir), want)
		}
		skopeo(t, "copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", "alice:of alice", "oci:"+one.Dir+":one", "docker://"+at.Address+"/public/skopeo:1")
		at.take()
		skopeo(t, "inspect", "--tls-verify=false", "--no-creds", "docker://"+at.Address+"/public/skopeo:1")
		tokensAlone(t, "skopeo inspect without a name", at)
		skopeo(t, "delete", "--tls-verify=false", "--creds", "alice:of alice", "docker://"+at.Address+"/team/skopeo:1")
		tokensAlone(t, "skopeo delete", at)
	})

	t.Run("skopeo, logged in", func(t *testing.T) {
		t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "auth.json"))
		for user, password := range map[string]string{"bob": "of bob", "carl": "of carl", "alice": key} {
			skopeo(t, "login", "--tls-verify=false", "--username", user, "--password", password, at.Address)
			at.take() // it asks for the base endpoint, and is told of tokens
			app := at.Address + "/" + user + "/app"
			skopeo(t, "copy", "--preserve-digests", "--dest-tls-verify=false", "oci:"+one.Dir+":one", "docker://"+app+":1")
			skopeo(t, "copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+app+":1", "docker://"+app+":2")
			tokensAlone(t, "skopeo copy", at)
			tags := harness.Run(t, "skopeo", "list-tags", "--tls-verify=false", "docker://"+app)
			if !strings.Contains(tags, `"1"`) || !strings.Contains(tags, `"2"`) {
				t.Errorf("skopeo lists %s", tags)
			}
			skopeo(t, "sync", "--src", "docker", "--dest", "docker", "--src-tls-verify=false", "--dest-tls-verify=false", app, at.Address+"/synced/"+user)
			tokensAlone(t, "skopeo sync", at)
			dir := t.TempDir()
			skopeo(t, "copy", "--preserve-digests", "--src-tls-verify=false", "docker://"+at.Address+"/synced/"+user+"/app:2", "oci:"+dir+":pulled")
			same(t, "synced", in(t, dir), want)
			skopeo(t, "delete", "--tls-verify=false", "docker://"+app+":2")
			skopeo(t, "logout", at.Address)
			refused(t, "skopeo without a name", trySkopeo(t, "inspect", "--tls-verify=false", "docker://"+app+":1"), "unauthorized", "authentication required")
		}
		at.take()
	})

	t.Run("containerd", func(t *testing.T) {
		c := harness.StartContainerd(t)
		for user, password := range map[string]string{"bob": "of bob", "alice": key} {
			for _, where := range []string{"/team/", "/public/"} {
				app := at.Address + where + "containerd-" + user
				pusher := c.Puller(t, at.Address, "", harness.Pair{})
				pusher.Import(t, one.Dir, app)
				refused(t, "containerd pushes without a name", pusher.Push(t, app+":one", ""), "authorization failed", "unauthorized")
				at.take()
				if err := pusher.Push(t, app+":one", user+":"+password); err != nil {
					t.Fatal(err)
				}
				tokensAlone(t, "containerd's push", at)
			}
			puller := c.Puller(t, at.Address, "", harness.Pair{})
			if err := puller.Pull(t, at.Address+"/team/containerd-"+user+":one", user+":"+password); err != nil {
				t.Error(err)
			}
			tokensAlone(t, "containerd's pull", at)
			hasAll(t, puller, want)
			nobody := c.Puller(t, at.Address, "", harness.Pair{})
			refused(t, "containerd pulls without a name", nobody.Pull(t, at.Address+"/team/containerd-"+user+":one", ""), "authorization failed", "unauthorized")
			at.take()
			if err := nobody.Pull(t, at.Address+"/public/containerd-"+user+":one", ""); err != nil {
				t.Error(err)
			}
			hasAll(t, nobody, want)
			for _, line := range at.take() { // it asks for no base endpoint, and is asked for no token
				if !strings.HasSuffix(line, "  200") {
					t.Errorf("containerd pulls what is public, without a name: %s", line)
				}
			}
		}
	})

	t.Run("crane", func(t *testing.T) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		crane(t, "auth", "login", at.Address, "-u", "alice", "-p", "of alice")
		at.take()
		app := at.Address + "/team/crane"
		crane(t, "push", one.Dir, app+":1")
		tokensAlone(t, "crane push", at)
		same(t, "pulled", craneLayout(t, app+":1"), want)
		tokensAlone(t, "crane pull", at)
		crane(t, "copy", app+":1", at.Address+"/public/crane:1") // mounts
		tokensAlone(t, "crane copy", at)
		lists(t, crane(t, "ls", app), "1")
		crane(t, "catalog", at.Address)
		tokensAlone(t, "crane catalog", at)
		crane(t, "delete", app+":1")
		tokensAlone(t, "crane delete", at)
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		crane(t, "digest", at.Address+"/public/crane:1")
		tokensAlone(t, "crane without a name", at)
	})

	t.Run("docker", func(t *testing.T) {
		engine := harness.StartEngine(t)
		for n, password := range []string{"of alice", key} {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			engine.Feed(t, strings.NewReader(password), "login", "--username", "alice", "--password-stdin", at.Address)
			tokensAlone(t, "docker login", at)
			name := fmt.Sprintf("%s/public/docker:%d", at.Address, n)
			id := load(t, engine, name, 0, images.Part{Seed: 1300 + uint64(n), Size: 1 << 20})
			engine.Run(t, "push", name)
			tokensAlone(t, "docker push", at)
			engine.Forget(t, name)
			engine.Run(t, "pull", name)
			tokensAlone(t, "docker pull", at)
			holds(t, engine, name, id)
			engine.Forget(t, name)
			engine.Run(t, "logout", at.Address)
			engine.Run(t, "pull", name)
			tokensAlone(t, "docker pull without a name", at)
			if err := engine.Try(t, "push", name); err == nil {
				t.Error("docker pushes without a name")
			}
			at.take()
		}
		if err := engine.Try(t, "login", "--username", "alice", "--password", "wrong", at.Address); err == nil {
			t.Error("docker logs in with a wrong password")
		}
	})
}
