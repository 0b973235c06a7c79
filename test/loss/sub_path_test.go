package loss_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// A cluster has a store of its own for what is below "team", whose garbage is collected, and that of the default store is
// not. A node dies, and later comes back without the disk of the sub-path, and with it: nothing that was acknowledged is
// ever missing, in either store, and each is looked after by its own settings. In the end the node leaves.
func TestSubPath(t *testing.T) {
	t.Parallel()
	disks := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	plans := make([]harness.Plan, len(disks))
	for i, disk := range disks {
		own := map[string]any{"rootDirectory": filepath.Join(disk, "team"), "gc": true, "gcDelay": "15s", "gcInterval": "1s"} // long enough for a push on a slow machine
		plans[i] = harness.Plan{Cluster: two(), Storage: map[string]any{"gc": false, "subPaths": map[string]any{"/team": own}}}
	}
	nodes := harness.StartEach(t, plans...)
	team, others := newLedger(t), newLedger(t)
	team.brief = true
	others.into, others.rng = "/v2/other", rand.New(rand.NewPCG(7, 11)) // the same blob may be in both
	team.fill(30, nodes...)
	others.fill(30, nodes...)
	garbage := []string{garbage(t, nodes[0], "team/tmp"), garbage(t, nodes[0], "tmp")}

	stop, stopOthers := team.pushing(nodes[1:]...), others.pushing(nodes[1:]...)
	nodes[0].Kill(t)
	gone := func(disk string) error {
		for _, file := range filesBelow(t, filepath.Join(disk, "team")) {
			if content, err := os.ReadFile(file); err == nil && digest.FromBytes(content).String() == garbage[0] {
				return fmt.Errorf("%s is garbage", file)
			}
		}
		return nil
	}
	until(t, "the garbage of the sub-path is collected on the living", func() error { return errors.Join(gone(disks[1]), gone(disks[2])) })
	if _, err := get(t.Context(), nodes[1].URL("/v2/team/tmp/blobs/"+garbage[0])); err == nil {
		t.Error("the garbage of the sub-path is served")
	}
	if _, err := get(t.Context(), nodes[1].URL("/v2/tmp/blobs/"+garbage[1])); err != nil {
		t.Errorf("what nobody refers to in the default store, where gc is off: %v", err)
	}
	nodes[0].Serve(t)
	whole(t, nodes[1], 3)
	until(t, "and on the one that was dead", func() error { return gone(disks[0]) })

	// Its disk is not mounted when it starts again: the store is offline there, and nothing is given up or made anew.
	before := filesBelow(t, filepath.Join(disks[0], "team"))
	nodes[0].Kill(t)
	move(t, filepath.Join(disks[0], "team"), filepath.Join(disks[0], "away"))
	nodes[0].Serve(t)
	until(t, "the node says that the disk is not there", func() error {
		err := harness.Probe(t.Context(), nodes[0].URL("/readyz"))
		if err == nil || !strings.Contains(err.Error(), "store /team") {
			return fmt.Errorf("it says %w", err)
		}
		return nil
	})
	stop()
	stopOthers()
	team.found(nodes[0]) // from the others
	others.found(nodes[0])
	if left := filesBelow(t, filepath.Join(disks[0], "team")); len(left) > 0 {
		t.Errorf("%d files are where the disk should be", len(left))
	}
	team.fill(5, nodes[1:]...)
	move(t, filepath.Join(disks[0], "away"), filepath.Join(disks[0], "team"))
	until(t, "it is ready again", func() error { return harness.Probe(t.Context(), nodes[0].URL("/readyz?for=write")) })
	whole(t, nodes[1], 3)
	for _, file := range before {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("a copy is gone: %v", err)
		}
	}
	team.found(nodes...)
	others.found(nodes...)
	inTeam, inDefault := map[string]bool{}, map[string]bool{}
	for i, disk := range disks {
		digests(t, filepath.Join(disk, "team"), inTeam)
		digests(t, nodes[i].Root, inDefault)
	}
	for d := range inTeam {
		if inDefault[d] {
			t.Errorf("%s is in both stores", d)
		}
	}
	if len(inTeam) < 35 || len(inDefault) < 31 || !inDefault[garbage[1]] {
		t.Errorf("%d blobs are in the sub-path, and %d in the default store", len(inTeam), len(inDefault))
	}

	// It leaves with what it has in both.
	if _, err := nodes[1].Zot(t, "cluster", "remove", nodes[0].Name); err != nil {
		t.Fatal(err)
	}
	whole(t, nodes[1], 2)
	nodes[0].Stop(t)
	team.found(nodes[1:]...)
	others.found(nodes[1:]...)
	verified(t, nodes[1])
}

// digests notes what the copies below a store's directory are copies of.
func digests(t *testing.T, root string, into map[string]bool) {
	t.Helper()
	for _, file := range filesBelow(t, root) {
		if filepath.Ext(file) != "" {
			continue // the sums of a copy
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		into[digest.FromBytes(content).String()] = true
	}
}

// garbage pushes a blob that no manifest names, and returns its digest.
func garbage(t *testing.T, n *harness.Node, into string) string {
	t.Helper()
	text := "garbage of " + into
	d := digest.FromString(text).String()
	if err := send(t.Context(), http.MethodPost, n.URL("/v2/"+into+"/blobs/uploads/?digest="+d), []byte(text)); err != nil {
		t.Fatal(err)
	}
	return d
}
