package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// crane runs crane, and returns the lines that it printed.
func crane(t *testing.T, arguments ...string) []string {
	t.Helper()
	return strings.Fields(harness.Run(t, harness.Program(t, "CRANE"), arguments...))
}

func TestCrane(t *testing.T) {
	nodes, balancer := start(t)
	last := nodes[len(nodes)-1]
	at := balancer.Address + "/crane/"
	one, image := onePlatform(t, 300, 4<<20, 100, 2<<20)
	many, _ := manyPlatforms(t, 400)

	crane(t, "push", one.Dir, at+"one:1")
	same(t, "one platform", everywhere(t, nodes, "crane/one", "1"), in(t, one.Dir))
	if got := crane(t, "digest", at+"one:1"); got[0] != image.Digest.String() {
		t.Errorf("the digest of crane/one:1 is %v, not %s", got, image.Digest)
	}

	// An index that has images, and an index.
	crane(t, "push", "--index", many.Dir, at+"many:1")
	want := in(t, many.Dir)
	want[indexDigest(t, many.Dir)] = true
	same(t, "nested index", everywhere(t, nodes, "crane/many", "1"), want)
	same(t, "nested index, pulled", craneLayout(t, at+"many:1"), want)
	crane(t, "validate", "--remote", at+"one:1")

	// Straight to a node, and at the same moment from another.
	crane(t, "push", one.Dir, nodes[0].Address+"/crane/direct:1")
	same(t, "pushed to another node", craneLayout(t, last.Address+"/crane/direct:1"), in(t, one.Dir))

	// Tags, listed wherever one asks.
	crane(t, "tag", at+"one:1", "1-1")
	crane(t, "tag", at+"one:1", "1.1")
	crane(t, "index", "append", "-m", at+"many:1", "-m", at+"one:1", "-t", at+"one:index")
	for _, n := range nodes {
		lists(t, crane(t, "ls", n.Address+"/crane/one"), "1", "1-1", "1.1", "index")
		lists(t, crane(t, "catalog", n.Address), "crane/direct", "crane/many", "crane/one")
	}
	everywhere(t, nodes, "crane/one", "index")

	mounts(t, nodes, balancer, one)

	crane(t, "delete", at+"one:1-1") // the tag alone
	nowhere(t, nodes, "crane/one", "1-1")
	same(t, "beside what was deleted", everywhere(t, nodes, "crane/one", "1.1"), in(t, one.Dir))
	crane(t, "delete", at+"direct@"+image.Digest.String()) // and every tag
	nowhere(t, nodes, "crane/direct", "1")
	nowhere(t, nodes, "crane/direct", image.Digest.String())
	same(t, "in another repository", everywhere(t, nodes, "crane/one", "1.1"), in(t, one.Dir))
	balancer.EveryServer(t, nodes)
}

// mounts copies an image into another repository: no layer is pushed again.
func mounts(t *testing.T, nodes []*harness.Node, balancer *harness.Balancer, one *images.Layout) {
	t.Helper()
	crane(t, "copy", balancer.Address+"/crane/one:1.1", balancer.Address+"/crane/mounted:1")
	same(t, "mounted", everywhere(t, nodes, "crane/mounted", "1"), in(t, one.Dir))
	balancer.WaitRequest(t, http.MethodPut, "/v2/crane/mounted/manifests/", http.StatusCreated)
	blobs := len(in(t, one.Dir)) - 1
	mounted := balancer.Await(t, blobs, "mounts", func(r harness.Request) bool { return strings.HasPrefix(r.Path, "/v2/crane/mounted/blobs/uploads/") })
	for _, r := range mounted {
		if r.Method != http.MethodPost || !strings.Contains(r.Path, "mount=") || r.Status != http.StatusCreated {
			t.Errorf("%s %s: status %d, want a mount", r.Method, r.Path, r.Status)
		}
	}
	if len(mounted) != blobs {
		t.Errorf("%d blobs were mounted, want %d", len(mounted), blobs)
	}
}

// craneLayout is what crane pulls, without the index that it writes for itself.
func craneLayout(t *testing.T, from string) content {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	crane(t, "pull", "--format", "oci", from, dir)
	return in(t, dir)
}

// indexDigest is the digest of the index that a layout is.
func indexDigest(t *testing.T, dir string) digest.Digest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	return digest.FromBytes(text)
}

func lists(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("listed are %v, want %v", got, want)
	}
}
