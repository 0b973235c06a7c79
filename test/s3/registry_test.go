package s3_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/blobstore/storetest"
	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// Three nodes share a bucket: what one takes the others serve, also when it is gone.
func TestThreeNodes(t *testing.T) {
	bucket := harness.StartBucket(t)
	nodes := harness.StartStored(t, 3, map[string]any{"storageDriver": bucket.Driver("/zot")})
	for i, size := range []int{0, 1000, 300 << 10, 25 << 20} {
		p := storetest.Bytes(i, size)
		push(t, nodes[i%3], "library/image", fmt.Sprint("v", i), p)
		for _, n := range nodes {
			pull(t, n, "library/image", fmt.Sprint("v", i), p)
		}
	}
	nodes[0].Kill(t)
	harness.WaitWritable(t, nodes[1:]...)
	pull(t, nodes[1], "library/image", "v0", nil)
	pull(t, nodes[2], "library/image", "v3", storetest.Bytes(3, 25<<20))
	nodes[0].Serve(t)
	harness.WaitWritable(t, nodes...)
	pull(t, nodes[0], "library/image", "v3", storetest.Bytes(3, 25<<20))
}

// push pushes an image of one layer.
func push(t *testing.T, n *harness.Node, repository, tag string, layer []byte) {
	t.Helper()
	config := []byte("{}")
	blobs := make([]map[string]any, 0, 2)
	for _, p := range [][]byte{config, layer} {
		d := digest.FromBytes(p)
		at := ask(t, n, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, http.StatusAccepted).Header.Get("Location")
		ask(t, n, http.MethodPut, at+"?digest="+d.String(), p, http.StatusCreated)
		blobs = append(blobs, map[string]any{"mediaType": "application/octet-stream", "digest": d, "size": len(p)})
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": blobs[0], "layers": blobs[1:],
	})
	must(t, err)
	ask(t, n, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, manifest, http.StatusCreated)
}

// pull pulls the layer of an image, and compares it.
func pull(t *testing.T, n *harness.Node, repository, tag string, layer []byte) {
	t.Helper()
	var manifest struct {
		Layers []struct{ Digest digest.Digest }
	}
	must(t, json.Unmarshal(body(t, ask(t, n, http.MethodGet, "/v2/"+repository+"/manifests/"+tag, nil, http.StatusOK)), &manifest))
	p := body(t, ask(t, n, http.MethodGet, "/v2/"+repository+"/blobs/"+manifest.Layers[0].Digest.String(), nil, http.StatusOK))
	if !bytes.Equal(p, layer) {
		t.Fatalf("%s: layer of %s: %d bytes came that are not the %d that were pushed", n.Name, tag, len(p), len(layer))
	}
}

// ask asks a node, and fails the test unless the answer has a status.
func ask(t *testing.T, n *harness.Node, method, path string, p []byte, status int) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, n.URL(path), bytes.NewReader(p))
	must(t, err)
	if method == http.MethodPut {
		r.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != status {
		text, _ := io.ReadAll(answer.Body)
		t.Fatalf("%s: %s %s: %s: %s", n.Name, method, path, answer.Status, text)
	}
	return answer
}

func body(t *testing.T, answer *http.Response) []byte {
	t.Helper()
	p, err := io.ReadAll(answer.Body)
	must(t, err)
	return p
}
