package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// large is the size of the layers that are large here.
const large = 1 << 30

// engineID is how the engine calls an image: by its configuration.
func engineID(t *testing.T, layout *images.Layout, image ocispec.Descriptor) digest.Digest {
	t.Helper()
	var m ocispec.Manifest
	if err := json.Unmarshal(layout.Read(image.Digest), &m); err != nil {
		t.Fatal(err)
	}
	return m.Config.Digest
}

// TestLargeLayer pushes a layer of 1 GiB with each client, and another one pulls it, all through the balancer.
func TestLargeLayer(t *testing.T) {
	engine := harness.StartEngine(t)
	nodes, balancer := start(t)
	layout, image := onePlatform(t, 800, large)

	push(t, layout, "one", balancer.Address, "large/skopeo:1")
	same(t, "pushed by skopeo", everywhere(t, nodes, "large/skopeo", "1"), in(t, layout.Dir))
	id := engineID(t, layout, image)
	name := balancer.Address + "/large/skopeo:1"
	engine.Run(t, "pull", "--quiet", name)
	holds(t, engine, name, id, images.Part{Seed: 800, Size: large})

	// Another layer: of the one that it has pulled the engine knows where it is, and has it mounted.
	engine.Forget(t, name)
	name = balancer.Address + "/large/docker:1"
	id = load(t, engine, name, 0, images.Part{Seed: 801, Size: large})
	engine.Run(t, "push", name)
	balancer.WaitRequest(t, http.MethodPatch, "/v2/large/docker/blobs/uploads/", http.StatusAccepted)
	if got := everywhere(t, nodes, "large/docker", "1"); !got[id] || len(got) != 3 {
		t.Errorf("large/docker:1 is %v", got.list())
	}
	if got := strings.Join(crane(t, "validate", "--remote", balancer.Address+"/large/docker:1"), " "); !strings.HasPrefix(got, "PASS") {
		t.Error(got)
	}

	crane(t, "push", layout.Dir, balancer.Address+"/large/crane:1")
	same(t, "pushed by crane", everywhere(t, nodes, "large/crane", "1"), in(t, layout.Dir))
	same(t, "pulled by skopeo", in(t, pull(t, balancer.Address, "large/crane:1")), in(t, layout.Dir))
	balancer.EveryServer(t, nodes)
}
