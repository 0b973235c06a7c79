package pushes_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	mediaType = "application/vnd.oci.image.manifest.v1+json"
	latest    = "latest"
)

// client pushes images into a repository that nobody else pushes to, and remembers what was acknowledged.
type client struct {
	repository string
	rng        *rand.Rand
	http       http.Client

	pushes int
	blobs  map[digest.Digest]bool   // acknowledged
	tags   map[string]digest.Digest // acknowledged
	tried  []digest.Digest          // what latest may name instead: pushes that were not answered
}

func newClient(repository string, seed uint64) *client {
	return &client{
		repository: repository, rng: rand.New(rand.NewPCG(seed, 1)), http: http.Client{Transport: &http.Transport{}, Timeout: requestTimeout},
		blobs: map[digest.Digest]bool{}, tags: map[string]digest.Digest{},
	}
}

// pushAll pushes until ctx ends.
func (c *client) pushAll(ctx context.Context, machines []*machine) {
	for ctx.Err() == nil {
		c.push(ctx, func() string { return "http://" + machines[c.rng.IntN(len(machines))].address })
	}
	c.http.CloseIdleConnections()
}

// push pushes one image, each request to a node of its own. What is not acknowledged is given up.
func (c *client) push(ctx context.Context, node func() string) {
	c.pushes++
	layer := make([]byte, 1+c.rng.IntN(1<<c.rng.IntN(22)))
	for i := range layer {
		layer[i] = byte(c.rng.Uint32())
	}
	d := digest.FromBytes(layer)
	if !c.upload(ctx, node, d, layer) {
		return
	}
	c.blobs[d] = true
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[],"annotations":{"n":"%d"}}`,
		mediaType, d, len(layer), c.pushes)
	image := digest.FromBytes(manifest)
	once := fmt.Sprintf("v%d", c.pushes)
	if c.put(ctx, node(), once, manifest) {
		c.tags[once] = image
	}
	if c.put(ctx, node(), latest, manifest) {
		c.tags[latest] = image
	} else {
		c.tried = append(c.tried, image)
	}
}

// upload pushes a blob, in one of the ways that clients have.
func (c *client) upload(ctx context.Context, node func() string, d digest.Digest, content []byte) bool {
	location, ok := c.do(ctx, http.MethodPost, node()+"/v2/"+c.repository+"/blobs/uploads/", nil, http.StatusAccepted)
	if ok && c.rng.IntN(2) == 0 {
		location, ok = c.do(ctx, http.MethodPatch, node()+location, content, http.StatusAccepted)
		content = nil
	}
	if !ok {
		return false
	}
	_, ok = c.do(ctx, http.MethodPut, node()+location+"?digest="+d.String(), content, http.StatusCreated)
	return ok
}

func (c *client) put(ctx context.Context, node, tag string, manifest []byte) bool {
	_, ok := c.do(ctx, http.MethodPut, node+"/v2/"+c.repository+"/manifests/"+tag, manifest, http.StatusCreated)
	return ok
}

// do sends a request and reports whether the answer has this status, with its Location.
func (c *client) do(ctx context.Context, method, url string, body []byte, status int) (location string, ok bool) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return "", false
	}
	request.Header.Set("Content-Type", mediaType)
	response, err := c.http.Do(request)
	if err != nil {
		return "", false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.Header.Get("Location"), response.StatusCode == status
}

// check looks at one node for everything that was acknowledged. Afterwards nothing is in doubt any more.
func (c *client) check(t *testing.T, m *machine) {
	t.Helper()
	for tag, want := range c.tags {
		image := c.get(t, m, "/manifests/"+tag)
		if tag == latest && slices.Contains(c.tried, image) {
			c.tags[latest], want = image, image // that push had been taken, nobody heard
		}
		if image != want {
			t.Errorf("%s: %s:%s is %q, acknowledged was %s", m.name, c.repository, tag, image, want)
		}
	}
	for d := range c.blobs {
		if found := c.get(t, m, "/blobs/"+d.String()); found != d {
			t.Errorf("%s: blob %s of %s was acknowledged, there is %q", m.name, d, c.repository, found)
		}
	}
	c.tried = nil
	c.http.CloseIdleConnections()
}

// get returns the digest of what a node serves, or what it says instead.
func (c *client) get(t *testing.T, m *machine, path string) digest.Digest {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.address+"/v2/"+c.repository+path, http.NoBody)
	if err != nil {
		t.Error(err)
		return ""
	}
	request.Header.Set("Accept", mediaType)
	response, err := c.http.Do(request)
	if err != nil {
		return digest.Digest(err.Error())
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(response.Body)
		return digest.Digest(response.Status + " " + string(said))
	}
	d, err := digest.FromReader(response.Body)
	if err != nil {
		return digest.Digest(err.Error())
	}
	return d
}
