package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
	"github.com/seed-16d79997/zot/test/e2e/images"
)

// signature is the artifact type of what refers to an image in this test.
const signature = "application/vnd.example.signature"

func TestArtifactWithSubject(t *testing.T) {
	nodes, balancer := start(t)
	one, image := onePlatform(t, 500, 1<<20)
	artifacts := images.NewLayout(t)
	content := artifacts.Blob("application/octet-stream", images.Random(510, 1000))
	signed := artifacts.Artifact(signature, image, content)
	artifacts.Tag("signature", signed)

	// The one that refers comes first: its subject need not be there yet.
	push(t, artifacts, "signature", balancer.Address, "artifact/app:signature")
	push(t, one, "one", balancer.Address, "artifact/app:1")
	same(t, "artifact", everywhere(t, nodes, "artifact/app", "signature"), in(t, artifacts.Dir))
	same(t, "artifact, pulled", in(t, pull(t, balancer.Address, "artifact/app:signature")), in(t, artifacts.Dir))
	for _, n := range nodes {
		refers(t, n, image, "", signed)
		refers(t, n, image, signature, signed)
		refers(t, n, image, "application/vnd.example.other")
	}

	skopeo(t, "delete", "--tls-verify=false", "docker://"+balancer.Address+"/artifact/app:signature")
	nowhere(t, nodes, "artifact/app", signed.Digest.String())
	for _, n := range nodes {
		refers(t, n, image, "")
	}
	balancer.EveryServer(t, nodes)
}

// refers asks a node what refers to a subject.
func refers(t *testing.T, n *harness.Node, subject ocispec.Descriptor, artifactType string, want ...ocispec.Descriptor) {
	t.Helper()
	url := n.URL("/v2/artifact/app/referrers/" + subject.Digest.String())
	if artifactType != "" {
		url += "?artifactType=" + artifactType
	}
	answer := ask(t, url)
	defer answer.Body.Close() //nolint:errcheck // it is only read
	var index ocispec.Index
	if err := json.NewDecoder(answer.Body).Decode(&index); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %v", url, answer.Status, err)
	}
	if filtered := strings.Contains(answer.Header.Get("OCI-Filters-Applied"), "artifactType"); filtered != (artifactType != "") {
		t.Errorf("%s: filters applied: %t", url, filtered)
	}
	if len(index.Manifests) != len(want) {
		t.Fatalf("%s: %d referrers, want %d", url, len(index.Manifests), len(want))
	}
	for i, m := range index.Manifests {
		if m.Digest != want[i].Digest || m.Size != want[i].Size || m.ArtifactType != signature {
			t.Errorf("%s: referrer %+v, want %s of %d bytes", url, m, want[i].Digest, want[i].Size)
		}
	}
}
