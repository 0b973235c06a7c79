package e2e_test

import (
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// What people read whose push is over a quota, or whose registry is read-only, and that pulls go on.
func TestLimitsInTheWordsOfClients(t *testing.T) {
	engine := harness.StartEngine(t)
	nodes := harness.StartWith(t, 3, map[string]any{"quotas": map[string]any{"team": "4MiB"}})
	balancer := harness.Balance(t, ours, nodes...)
	at := balancer.Address + "/team/"
	load(t, engine, at+"small:1", 0, images.Part{Seed: 700, Size: 1 << 20})
	load(t, engine, at+"large:1", 0, images.Part{Seed: 701, Size: 4 << 20})
	layout, _ := onePlatform(t, 710, 100, 4<<20)
	pushes := map[string]func(tag string) error{
		"docker": func(tag string) error { return engine.Try(t, "push", at+tag) },
		"skopeo": func(string) error {
			_, err := harness.TryRun(t, "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+layout.Dir+":one", "docker://"+at+"skopeo:1")
			return err
		},
		"crane": func(string) error {
			_, err := harness.TryRun(t, harness.Program(t, "CRANE"), "push", layout.Dir, at+"crane:1")
			return err
		},
	}
	refused := func(tag, words string) {
		t.Helper()
		for client, push := range pushes {
			err := push(tag)
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s does not say %q: %v", client, words, err)
			}
		}
	}
	if err := pushes["docker"]("small:1"); err != nil {
		t.Fatal(err)
	}
	refused("large:1", "the quota of team is 4 MiB")

	if out, err := nodes[1].Zot(t, "cluster", "read-only", "on", "--reason", "the disks are changed"); err != nil {
		t.Fatal(out, err)
	}
	refused("large:1", "registry is read-only: the disks are changed; pulls go on")
	engine.Forget(t, at+"small:1")
	engine.Run(t, "pull", at+"small:1")
	if out, err := nodes[2].Zot(t, "cluster", "read-only", "off"); err != nil {
		t.Fatal(out, err)
	}
	engine.Run(t, "tag", at+"small:1", at+"small:2")
	if err := pushes["docker"]("small:2"); err != nil {
		t.Error(err)
	}
}
