package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/images"
)

// signature is the artifact type of what refers to an image in this test.
const signature = "application/vnd.example.signature"

func TestArtifactWithSubject(t *testing.T) {
	nodes, balancer := start(t)
	everyone := []string{balancer.Address}
	for _, n := range nodes {
		everyone = append(everyone, n.Address)
	}
	one, image := onePlatform(t, 500, 1<<20)
	artifacts := images.NewLayout(t)
	content := artifacts.Blob("application/octet-stream", images.Random(510, 1000))
	signed := artifacts.Artifact(signature, image, content)
	artifacts.Tag("signature", signed)

	t.Run("skopeo", func(t *testing.T) {
		const app = "artifact/skopeo"
		// The one that refers comes first: its subject need not be there yet.
		push(t, artifacts, "signature", balancer.Address, app+":signature")
		push(t, one, "one", balancer.Address, app+":1")
		same(t, "artifact", everywhere(t, nodes, app, "signature"), in(t, artifacts.Dir))
		same(t, "artifact, pulled", in(t, pull(t, balancer.Address, app+":signature")), in(t, artifacts.Dir))
		for _, address := range everyone {
			refers(t, address, app, image, "", signed)
			refers(t, address, app, image, signature, signed)
			refers(t, address, app, image, "application/vnd.example.other")
		}

		skopeo(t, "delete", "--tls-verify=false", "docker://"+balancer.Address+"/"+app+":signature")
		nowhere(t, nodes, app, signed.Digest.String())
		for _, address := range everyone {
			refers(t, address, app, image, "")
		}
		same(t, "subject", everywhere(t, nodes, app, "1"), in(t, one.Dir))
	})

	t.Run("crane, and the subject goes", func(t *testing.T) {
		const app = "artifact/crane"
		at := balancer.Address + "/" + app
		crane(t, "push", one.Dir, at+":1")
		crane(t, "push", artifacts.Dir, at+":signature")
		lists(t, crane(t, "ls", at), "1", "signature") // and no tag in place of referrers
		for _, address := range everyone {
			refers(t, address, app, image, signature, signed)
		}

		crane(t, "delete", at+"@"+image.Digest.String())
		nowhere(t, nodes, app, "1")
		nowhere(t, nodes, app, image.Digest.String())
		for _, address := range everyone {
			refers(t, address, app, image, "", signed)
		}
		same(t, "artifact without its subject", everywhere(t, nodes, app, "signature"), in(t, artifacts.Dir))
		same(t, "artifact without its subject, pulled", craneLayout(t, at+"@"+signed.Digest.String()), in(t, artifacts.Dir))

		crane(t, "push", one.Dir, at+":back")
		for _, address := range everyone {
			refers(t, address, app, image, signature, signed)
		}
	})
	balancer.EveryServer(t, nodes)
}

// refers asks at an address what refers to a subject.
func refers(t *testing.T, address, repository string, subject ocispec.Descriptor, artifactType string, want ...ocispec.Descriptor) {
	t.Helper()
	url := "http://" + address + "/v2/" + repository + "/referrers/" + subject.Digest.String()
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
