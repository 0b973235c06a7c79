package pushes_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	mediaType = "application/vnd.oci.image.manifest.v1+json"
	latest    = "latest"
	largest   = 4 << 20 // bytes of a layer. From 1 MiB on they go to the other nodes while they come
	padding   = 60 << 10
)

// place is where something is: a repository, and a tag or a digest there.
type place struct{ repository, name string }

// layer is a blob that was acknowledged.
type layer struct {
	digest digest.Digest
	size   int
}

// client pushes images into repositories that nobody else pushes to, and remembers what was acknowledged.
type client struct {
	repository string // and another one, into which it mounts
	rng        *rand.Rand
	http       http.Client

	pushes int
	layers []layer                    // acknowledged
	blobs  map[place]bool             // acknowledged
	tags   map[place]digest.Digest    // acknowledged
	tried  map[string][]digest.Digest // what latest may name instead, by repository: pushes that were not answered
	wrong  []string                   // answers that must not be
}

func newClient(repository string, seed uint64) *client {
	return &client{
		repository: repository, rng: rand.New(rand.NewPCG(seed, 1)), http: http.Client{Transport: &http.Transport{}, Timeout: requestTimeout},
		blobs: map[place]bool{}, tags: map[place]digest.Digest{}, tried: map[string][]digest.Digest{},
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
	var repository string
	var l layer
	var ok bool
	if len(c.layers) > 0 && c.rng.IntN(5) == 0 {
		repository, l = c.repository+"/mounted", c.layers[c.rng.IntN(len(c.layers))]
		ok = c.mount(ctx, node, repository, l)
	} else {
		repository = c.repository
		content := c.content()
		l = layer{digest.FromBytes(content), len(content)}
		if ok = c.upload(ctx, node, l.digest, content); ok {
			c.layers = append(c.layers, l)
		}
	}
	if !ok {
		return
	}
	c.blobs[place{repository, l.digest.String()}] = true
	manifest := c.manifest(l)
	image := digest.FromBytes(manifest)
	once := place{repository, fmt.Sprintf("v%d", c.pushes)}
	if c.put(ctx, node(), once, manifest) {
		c.tags[once] = image
	}
	newest := place{repository, latest}
	if c.put(ctx, node(), newest, manifest) {
		c.tags[newest] = image
	} else {
		c.tried[repository] = append(c.tried[repository], image)
	}
}

// content is that of a new layer: each order of magnitude is as likely as another, and the ends more so.
func (c *client) content() []byte {
	size := int(math.Exp(c.rng.Float64() * math.Log(largest)))
	switch c.rng.IntN(16) {
	case 0:
		size = 1
	case 1:
		size = largest
	}
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(c.rng.Uint32())
	}
	return content
}

// manifest is one of a layer alone. One in ten does not fit into the log.
func (c *client) manifest(l layer) []byte {
	pad := 0
	if c.rng.IntN(10) == 0 {
		pad = padding
	}
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/x","digest":%q,"size":%d},"layers":[],"annotations":{"n":"%d","pad":%q}}`,
		mediaType, l.digest, l.size, c.pushes, strings.Repeat("x", pad))
}

// upload pushes a blob, in one of the ways that clients have.
func (c *client) upload(ctx context.Context, node func() string, d digest.Digest, content []byte) bool {
	location, ok := c.do(ctx, http.MethodPost, node()+"/v2/"+c.repository+"/blobs/uploads/", nil, http.StatusAccepted)
	var chunk int // bytes in a PATCH
	switch c.rng.IntN(3) {
	case 0:
		chunk = len(content)
	case 1:
		chunk = 1 + len(content)/(1+c.rng.IntN(4))
	}
	sent := 0
	for ok && chunk > 0 && len(content)-sent >= chunk { // what is left comes with the PUT
		end := sent + chunk
		var headers []string
		if chunk < len(content) { // else it is a stream, as Docker sends it
			headers = []string{"Content-Range", fmt.Sprintf("%d-%d", sent, end-1)}
		}
		location, ok = c.do(ctx, http.MethodPatch, node()+location, content[sent:end], http.StatusAccepted, headers...)
		sent = end
	}
	if !ok {
		return false
	}
	_, ok = c.do(ctx, http.MethodPut, node()+location+"?digest="+d.String(), content[sent:], http.StatusCreated)
	return ok
}

// mount makes a blob visible in another repository. It was acknowledged, so it is there.
func (c *client) mount(ctx context.Context, node func() string, repository string, l layer) bool {
	url := node() + "/v2/" + repository + "/blobs/uploads/?mount=" + l.digest.String() + "&from=" + c.repository
	upload, ok := c.do(ctx, http.MethodPost, url, nil, http.StatusCreated)
	if !ok && upload != "" {
		c.wrong = append(c.wrong, "not found to be mounted: "+url)
	}
	return ok
}

func (c *client) put(ctx context.Context, node string, to place, manifest []byte) bool {
	_, ok := c.do(ctx, http.MethodPut, node+"/v2/"+to.repository+"/manifests/"+to.name, manifest, http.StatusCreated)
	return ok
}

// do sends a request, with headers in pairs, and reports whether the answer has this status, with its Location.
func (c *client) do(ctx context.Context, method, url string, body []byte, status int, headers ...string) (location string, ok bool) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return "", false
	}
	request.Header.Set("Content-Type", mediaType)
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
	}
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
	for at, want := range c.tags {
		image := c.get(t, m, at.repository+"/manifests/"+at.name)
		if at.name == latest && slices.Contains(c.tried[at.repository], image) {
			c.tags[at], want = image, image // that push had been taken, nobody heard
		}
		if image != want {
			t.Errorf("%s: %s:%s is %q, acknowledged was %s", m.name, at.repository, at.name, image, want)
		}
	}
	for at := range c.blobs {
		if found := c.get(t, m, at.repository+"/blobs/"+at.name); found.String() != at.name {
			t.Errorf("%s: blob %s of %s was acknowledged, there is %q", m.name, at.name, at.repository, found)
		}
	}
	for _, what := range c.wrong {
		t.Error(what)
	}
	clear(c.tried)
	c.http.CloseIdleConnections()
}

// get returns the digest of what a node serves, or what it says instead.
func (c *client) get(t *testing.T, m *machine, path string) digest.Digest {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.address+"/v2/"+path, http.NoBody)
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
