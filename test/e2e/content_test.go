package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// accepted are the manifests that clients ask for.
func accepted() []string {
	return []string{
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest,
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
	}
}

// content is all that belongs to an image: digests, of which each was compared with its bytes.
type content map[digest.Digest]bool

// contentAt reads an image at a node, with all that it refers to.
func contentAt(t *testing.T, n *harness.Node, repository, reference string) content {
	t.Helper()
	all := content{}
	all.read(t, n, repository, reference)
	return all
}

func (c content) read(t *testing.T, n *harness.Node, repository, reference string) {
	t.Helper()
	answer := ask(t, n.URL("/v2/"+repository+"/manifests/"+reference))
	defer answer.Body.Close() //nolint:errcheck // it is only read
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s/%s: %s", n.Name, repository, reference, answer.Status)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	said := digest.Digest(answer.Header.Get("Docker-Content-Digest"))
	if got := digest.FromBytes(body); got != said || strings.Contains(reference, ":") && got.String() != reference {
		t.Fatalf("%s: %s/%s hashes to %s, and says that it is %s", n.Name, repository, reference, got, said)
	}
	c[said] = true
	var m struct {
		Manifests, Layers []ocispec.Descriptor
		Config            *ocispec.Descriptor
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	for _, child := range m.Manifests {
		c.read(t, n, repository, child.Digest.String())
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, blob := range m.Layers {
		c.readBlob(t, n, repository, blob)
	}
}

func (c content) readBlob(t *testing.T, n *harness.Node, repository string, blob ocispec.Descriptor) {
	t.Helper()
	answer := ask(t, n.URL("/v2/"+repository+"/blobs/"+blob.Digest.String()))
	defer answer.Body.Close() //nolint:errcheck // it is only read
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: blob %s of %s: %s", n.Name, blob.Digest, repository, answer.Status)
	}
	verifier := blob.Digest.Verifier()
	size, err := io.Copy(verifier, answer.Body)
	if err != nil || size != blob.Size || !verifier.Verified() {
		t.Fatalf("%s: blob %s of %s: %d of %d bytes, verified %t: %v", n.Name, blob.Digest, repository, size, blob.Size, verifier.Verified(), err)
	}
	c[blob.Digest] = true
}

// everywhere reads an image at each node, and returns what it consists of.
func everywhere(t *testing.T, nodes []*harness.Node, repository, reference string) content {
	t.Helper()
	first := contentAt(t, nodes[0], repository, reference)
	for _, n := range nodes[1:] {
		if other := contentAt(t, n, repository, reference); !maps.Equal(first, other) {
			t.Fatalf("%s/%s is %v at %s, and %v at %s", repository, reference, first.list(), nodes[0].Name, other.list(), n.Name)
		}
	}
	return first
}

func (c content) list() []digest.Digest { return slices.Sorted(maps.Keys(c)) }

// nowhere sees to it that no node has a manifest.
func nowhere(t *testing.T, nodes []*harness.Node, repository, reference string) {
	t.Helper()
	for _, n := range nodes {
		answer := ask(t, n.URL("/v2/"+repository+"/manifests/"+reference))
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
		if answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s/%s: %s", n.Name, repository, reference, answer.Status)
		}
	}
}

// ask sends a GET. The caller closes the answer's.
func ask(t *testing.T, url string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header["Accept"] = accepted()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// same compares what a node has with what was pushed, or pulled.
func same(t *testing.T, what string, got, want content) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got.list(), want.list())
	}
}

// get asks for a URL, and fails if the answer has another status than the wanted one; 0 is any.
func get(t *testing.T, client *http.Client, url string, status int) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(answer.Body)
	if err == nil && status != 0 && answer.StatusCode != status {
		err = fmt.Errorf("%s: %s, want %d: %.300s", url, answer.Status, status, text)
	}
	return err
}
