package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// TestTokenServiceBehindRegistry has programs log in at the registry, which asks another token service in their name.
func TestTokenServiceBehindRegistry(t *testing.T) {
	tokens := newIssuer(t)
	dir, port := t.TempDir(), harness.FreePorts(t, 1)[0]
	at := fmt.Sprintf("localhost:%d", port) // crane asks no address that is private
	section, err := json.Marshal(map[string]any{
		"storage": map[string]any{"rootDirectory": filepath.Join(dir, "data")},
		"http": map[string]any{"port": port, "auth": map[string]any{"bearer": map[string]any{
			"realm": "http://" + at + "/zot/auth/token", "service": at, "cert": tokens.Cert,
			"upstreamTokenEndpoint": map[string]any{"realm": tokens.URL, "service": "registry.example", "allowInsecureHttp": true},
			"oidc":                  []any{map[string]any{"issuer": "https://issuer.example", "audiences": []string{at}}},
		}}},
	})
	file := filepath.Join(dir, "config.json")
	if err == nil {
		err = os.WriteFile(file, section, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	harness.StartConfigured(t, file, fmt.Sprintf("127.0.0.1:%d", port), nil)
	one, _ := onePlatform(t, 1800, 1<<20, 100)
	want := in(t, one.Dir)

	t.Run("skopeo", func(t *testing.T) {
		tokens.throughSkopeo(t, "docker://"+at+"/team/skopeo:1", one.Dir)
	})

	t.Run("crane", func(t *testing.T) {
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		crane(t, "auth", "login", at, "-u", "alice", "-p", "of alice")
		crane(t, "push", one.Dir, at+"/public/crane:1")
		tokens.wasAsked(t, "crane push", "alice")
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		tokens.take()
		same(t, "pulled", craneLayout(t, at+"/public/crane:1"), want)
		tokens.wasAsked(t, "crane without a name", "")
	})

	t.Run("docker", func(t *testing.T) {
		engine := harness.StartEngine(t)
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		engine.Feed(t, strings.NewReader("of alice"), "login", "--username", "alice", "--password-stdin", at)
		tokens.wasAsked(t, "docker login", "alice")
		name := at + "/team/docker:1"
		id := load(t, engine, name, 0, images.Part{Seed: 1900, Size: 1 << 20})
		engine.Run(t, "push", name)
		engine.Forget(t, name)
		engine.Run(t, "pull", name)
		holds(t, engine, name, id)
		engine.Forget(t, name)
		if err := engine.Try(t, "login", "--username", "alice", "--password", "wrong", at); err == nil {
			t.Error("docker logs in with a wrong password")
		}
	})
}
