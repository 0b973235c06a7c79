package s3_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		push(t, nodes[i%3], fmt.Sprint("v", i), p)
		for _, n := range nodes {
			pull(t, n, fmt.Sprint("v", i), p)
		}
	}
	nodes[0].Kill(t)
	harness.WaitWritable(t, nodes[1:]...)
	pull(t, nodes[1], "v0", nil)
	pull(t, nodes[2], "v3", storetest.Bytes(3, 25<<20))
	nodes[0].Serve(t)
	harness.WaitWritable(t, nodes...)
	pull(t, nodes[0], "v3", storetest.Bytes(3, 25<<20))
}

// An upload dies with the node that took it: every other one says that it is unknown, and so does that node when it is
// back. What its bytes have become in the bucket nobody sees.
func TestUploadOfANodeThatDies(t *testing.T) {
	bucket := harness.StartBucket(t)
	nodes := harness.StartStored(t, 3, map[string]any{"storageDriver": bucket.Driver("/zot")})
	layer := storetest.Bytes(1, 25<<20)
	at := ask(t, nodes[1], http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, http.StatusAccepted).header.Get("Location")
	at = ask(t, nodes[0], http.MethodPatch, at, layer[:15<<20], http.StatusAccepted).header.Get("Location")
	if r := ask(t, nodes[2], http.MethodGet, at, nil, http.StatusNoContent); r.header.Get("Range") != fmt.Sprintf("0-%d", 15<<20-1) {
		t.Fatalf("another node says %v of the upload", r.header)
	}
	nodes[0].Kill(t)
	unknown := func(n *harness.Node) {
		t.Helper()
		harness.Until(t, n.Name+" does not know the upload", func(context.Context) error { // for a while it may come back
			r := ask(t, n, http.MethodPatch, at, layer[15<<20:], 0)
			if r.code != http.StatusNotFound && r.code != http.StatusServiceUnavailable {
				t.Fatalf("%s says %d: %s", n.Name, r.code, r.body)
			}
			if r.code != http.StatusNotFound || !strings.Contains(string(r.body), "BLOB_UPLOAD_UNKNOWN") {
				return fmt.Errorf("%d: %s", r.code, r.body)
			}
			return nil
		})
	}
	harness.WaitWritable(t, nodes[1:]...)
	unknown(nodes[1])
	nodes[0].Serve(t)
	harness.WaitWritable(t, nodes...)
	unknown(nodes[2])
	unknown(nodes[0])
	push(t, nodes[2], "v1", layer)
	pull(t, nodes[0], "v1", layer)
}

// What rots or goes from the bucket is found, and healed by a push; what is deleted goes from it.
func TestCare(t *testing.T) {
	bucket := harness.StartBucket(t)
	n := harness.StartStored(t, 1, map[string]any{"storageDriver": bucket.Driver("/zot"), "gcDelay": lease, "gcInterval": "1s"})[0]
	layer := storetest.Bytes(1, 300<<10)
	push(t, n, "v1", layer)
	at := copiesIn(t, bucket, int64(len(layer)))
	if len(at) != 1 {
		t.Fatalf("copies of the layer are %q", at)
	}
	flip(t, at[0])
	out, err := n.Zot(t, "cluster", "verify", "--hash")
	if err == nil || !strings.Contains(out, "invariant 5") || !strings.Contains(out, "in the bucket") {
		t.Fatalf("rot in the bucket: %v\n%s", err, out)
	}
	harness.Until(t, "the blob is known to be damaged", func(context.Context) error {
		if r := ask(t, n, http.MethodHead, blobPath(layer), nil, 0); r.code != http.StatusNotFound {
			return fmt.Errorf("HEAD says %d", r.code)
		}
		return nil
	})
	push(t, n, "v1", layer)
	pull(t, n, "v1", layer)
	out, err = n.Zot(t, "cluster", "verify", "--hash")
	if err != nil || !strings.Contains(out, "2 copies") {
		t.Fatalf("after a push: %v\n%s", err, out)
	}
	manifest := ask(t, n, http.MethodHead, "/v2/"+repository+"/manifests/v1", nil, http.StatusOK).header.Get("Docker-Content-Digest")
	ask(t, n, http.MethodDelete, "/v2/"+repository+"/manifests/"+manifest, nil, http.StatusAccepted)
	harness.Until(t, "what nobody refers to is gone", func(context.Context) error {
		if left := copiesIn(t, bucket, -1); len(left) > 0 {
			return fmt.Errorf("%q", left)
		}
		return nil
	})
}

// Clients are sent to the bucket by GET, and never by HEAD.
func TestRedirect(t *testing.T) {
	bucket := harness.StartBucket(t)
	n := harness.StartStored(t, 1, map[string]any{"storageDriver": bucket.Driver("/zot"), "redirectBlobURL": true})[0]
	layer := storetest.Bytes(1, 300<<10)
	push(t, n, "v1", layer)
	pull(t, n, "v1", layer) // which follows
	r := ask(t, n, http.MethodGet, blobPath(layer), nil, http.StatusTemporaryRedirect)
	to := r.header.Get("Location")
	if !strings.HasPrefix(to, bucket.Endpoint) || !strings.Contains(to, "X-Amz-Signature=") {
		t.Fatalf("the client is sent to %q", to)
	}
	if strings.Contains(to, bucket.SecretKey) {
		t.Fatal("the address has the secret key in it")
	}
	if r := ask(t, n, http.MethodHead, blobPath(layer), nil, http.StatusOK); r.header.Get("Content-Length") != fmt.Sprint(len(layer)) {
		t.Fatalf("HEAD says %v", r.header)
	}
}

// Another bucket behind the name and address of that with the copies is not taken for it: nothing is given up, removed or
// taken until the right one is back.
func TestAnotherBucketBehindTheName(t *testing.T) {
	bucket := harness.StartBucket(t)
	n := harness.StartStored(t, 1, map[string]any{"storageDriver": bucket.Driver("/zot")})[0]
	push(t, n, "v1", []byte("layer"))
	n.Stop(t)
	must(t, os.Rename(bucket.Path("zot"), bucket.Path("away")))
	n.Serve(t)
	harness.Until(t, "the node says what is wrong", func(ctx context.Context) error {
		err := harness.Probe(ctx, n.URL("/readyz"))
		if err == nil {
			t.Fatal("a bucket without the copies is taken for the store")
		}
		if !strings.Contains(err.Error(), "offline") {
			return err
		}
		return nil
	})
	must(t, os.Rename(bucket.Path("away"), bucket.Path("zot")))
	harness.WaitWritable(t, n)
	pull(t, n, "v1", []byte("layer"))
}

const repository = "library/image"

// lease is short, for tests that wait for its end, and yet longer than a push takes on a slow machine.
const lease = "15s"

func blobPath(p []byte) string { return "/v2/" + repository + "/blobs/" + digest.FromBytes(p).String() }

// copiesIn returns the files of copies in the bucket that have a size; -1: any, sums too.
func copiesIn(t *testing.T, bucket *harness.Bucket, size int64) (found []string) {
	t.Helper()
	clusters, err := os.ReadDir(bucket.Path("zot"))
	must(t, err)
	for _, c := range clusters {
		dir := bucket.Path("zot/" + c.Name())
		files, err := os.ReadDir(dir)
		must(t, err)
		for _, f := range files {
			info, err := f.Info()
			if err == nil && f.Name() != "marker" && !f.IsDir() && (size < 0 || info.Size() == size) {
				found = append(found, filepath.Join(dir, f.Name()))
			}
		}
	}
	return found
}

// flip flips a bit of a file.
func flip(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], 100)
	must(t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b[:], 100)
	must(t, err)
	must(t, f.Close())
}

// push pushes an image of one layer.
func push(t *testing.T, n *harness.Node, tag string, layer []byte) {
	t.Helper()
	config := []byte("{}")
	blobs := make([]map[string]any, 0, 2)
	for _, p := range [][]byte{config, layer} {
		d := digest.FromBytes(p)
		at := ask(t, n, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, http.StatusAccepted).header.Get("Location")
		ask(t, n, http.MethodPut, at+"?digest="+d.String(), p, http.StatusCreated)
		blobs = append(blobs, map[string]any{"mediaType": "application/octet-stream", "digest": d, "size": len(p)})
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": blobs[0], "layers": blobs[1:],
	})
	must(t, err)
	ask(t, n, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, manifest, http.StatusCreated)
}

// pull pulls the layer of an image, from wherever the node sends it, and compares it.
func pull(t *testing.T, n *harness.Node, tag string, layer []byte) {
	t.Helper()
	var manifest struct {
		Layers []struct{ Digest digest.Digest }
	}
	must(t, json.Unmarshal(ask(t, n, http.MethodGet, "/v2/"+repository+"/manifests/"+tag, nil, http.StatusOK).body, &manifest))
	p := ask(t, n, http.MethodGet, "/v2/"+repository+"/blobs/"+manifest.Layers[0].Digest.String(), nil, http.StatusOK).body
	if !bytes.Equal(p, layer) {
		t.Fatalf("%s: layer of %s: %d bytes came that are not the %d that were pushed", n.Name, tag, len(p), len(layer))
	}
}

// answer is what came of a request.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// ask asks a node, and fails the test unless the answer has a status; 0 is any. It follows redirections unless one is
// wanted. As clients do, it comes again when it is told to, while the nodes choose a leader; but not with a part of an
// upload, which may have been taken.
func ask(t *testing.T, n *harness.Node, method, path string, p []byte, status int) answer {
	t.Helper()
	a := askOnce(t, n, method, path, p, status == http.StatusTemporaryRedirect)
	for try := 1; a.code == http.StatusServiceUnavailable && status != 0 && method != http.MethodPatch && try < 10; try++ {
		select {
		case <-time.After(time.Second):
		case <-t.Context().Done():
		}
		a = askOnce(t, n, method, path, p, status == http.StatusTemporaryRedirect)
	}
	if status != 0 && a.code != status {
		t.Fatalf("%s: %s %s: %d: %.500s", n.Name, method, path, a.code, a.body)
	}
	return a
}

// askOnce asks a node, and follows redirections or not.
func askOnce(t *testing.T, n *harness.Node, method, path string, p []byte, stays bool) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, n.URL(path), bytes.NewReader(p))
	must(t, err)
	if method == http.MethodPut {
		r.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	client := *http.DefaultClient
	if stays {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	response, err := client.Do(r)
	must(t, err)
	text, err := io.ReadAll(response.Body)
	must(t, errors.Join(err, response.Body.Close()))
	return answer{response.StatusCode, response.Header, text}
}
