package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// startDistribution runs CNCF distribution until the test ends, and returns its host.
func startDistribution(t *testing.T) string {
	t.Helper()
	program := harness.Program(t, "DISTRIBUTION")
	host := fmt.Sprintf("127.0.0.1:%d", harness.FreePorts(t, 1)[0])
	file := filepath.Join(t.TempDir(), "config.yml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n"+
		"    rootdirectory: %s\nhttp:\n  addr: %s\n", t.TempDir(), host), 0o600))
	cmd := exec.CommandContext(t.Context(), program, "serve", file)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the context has done it already
		_ = cmd.Wait()
	})
	harness.Until(t, "distribution answers", func(ctx context.Context) error { return harness.Probe(ctx, "http://"+host+"/v2/") })
	return host
}

// send sends a request to a registry and returns its answer's header. The answer must be that something was made.
func send(t *testing.T, method, url, mediaType string, body []byte) http.Header {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	must(t, err)
	r.Header.Set("Content-Type", mediaType)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	text, err := io.ReadAll(response.Body)
	must(t, errors.Join(err, response.Body.Close()))
	if response.StatusCode != http.StatusCreated && response.StatusCode != http.StatusAccepted {
		t.Fatalf("%s %s: %s: %s", method, url, response.Status, text)
	}
	return response.Header
}

// pushTo pushes all that a zot has and another registry takes.
func (z *zot) pushTo(host string) {
	z.t.Helper()
	for repository, manifests := range z.index {
		files, err := filepath.Glob(filepath.Join(z.dir, repository, "blobs", "sha256", "*"))
		must(z.t, err)
		for _, file := range files {
			content, err := os.ReadFile(file)
			must(z.t, err)
			at := send(z.t, http.MethodPost, "http://"+host+"/v2/"+repository+"/blobs/uploads/", "", nil).Get("Location")
			d := digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(file))
			send(z.t, http.MethodPut, at+"&"+url.Values{"digest": {d.String()}}.Encode(), "application/octet-stream", content)
		}
		for _, m := range manifests {
			z.pushManifest(host, repository, m)
		}
	}
}

// pushManifest pushes a manifest behind what it lists.
func (z *zot) pushManifest(host, repository string, m v1.Descriptor) {
	z.t.Helper()
	if m.Digest.Algorithm() != digest.SHA256 || strings.Contains(m.Annotations[v1.AnnotationRefName], "long") {
		return
	}
	content, err := os.ReadFile(z.path(repository, m.Digest))
	must(z.t, err)
	var index v1.Index
	must(z.t, json.Unmarshal(content, &index))
	for _, child := range index.Manifests {
		z.pushManifest(host, repository, child)
	}
	reference := m.Digest.String()
	if tag := m.Annotations[v1.AnnotationRefName]; tag != "" {
		reference = tag
	}
	send(z.t, http.MethodPut, "http://"+host+"/v2/"+repository+"/manifests/"+reference, m.MediaType, content)
}

// layerDigest is the second layer of an image: the one that it does not share.
func (z *zot) layerDigest(repository, tag string) digest.Digest {
	z.t.Helper()
	content, err := os.ReadFile(z.path(repository, z.tags()[repository+":"+tag]))
	must(z.t, err)
	var m v1.Manifest
	must(z.t, json.Unmarshal(content, &m))
	return m.Layers[1].Digest
}

// layerOf is the file of that layer.
func (z *zot) layerOf(repository, tag string) string {
	return z.path(repository, z.layerDigest(repository, tag))
}
