package kill_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	largest  = 64 << 20 // bytes of a layer
	pageSize = 64 << 10
)

// content is bytes that need not be kept: each page follows from the seed and its number, so that any
// part can be made again, to be sent or compared.
type content struct {
	seed   uint64
	size   int64
	digest digest.Digest
}

func newContent(seed uint64, size int64) *content {
	c := &content{seed: seed, size: size}
	h := sha256.New()
	_, _ = io.Copy(h, c.from(0)) // neither fails
	c.digest = digest.NewDigest(digest.SHA256, h)
	return c
}

// from is the content from an offset to the end.
func (c *content) from(offset int64) *io.SectionReader {
	return io.NewSectionReader(c, offset, c.size-offset)
}

// ReadAt makes the bytes at an offset.
func (c *content) ReadAt(p []byte, offset int64) (n int, err error) {
	var page [pageSize]byte
	for n < len(p) && offset < c.size {
		number, within := offset/pageSize, offset%pageSize
		rng := rand.NewPCG(c.seed, uint64(number))
		for i := 0; i < pageSize; i += 8 {
			binary.LittleEndian.PutUint64(page[i:], rng.Uint64())
		}
		m := copy(p[n:], page[within:min(pageSize, within+c.size-offset)])
		n, offset = n+m, offset+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// value is what a tag names: the number of an image, 0 for none.
type value int

// image is what is pushed as one: blobs, and a manifest that names them.
type image struct {
	number   value
	blobs    []*content // the configuration first
	manifest []byte
	digest   digest.Digest
}

// gallery makes images, and knows all that were made. Its methods may be called concurrently.
type gallery struct {
	seed  uint64
	limit int64 // bytes of layers, after which they become small

	blobs atomic.Uint64 // made so far

	mu       sync.Mutex
	made     int64 // bytes; guarded by mu
	images   []*image
	byDigest map[digest.Digest]value
	layers   []*content
}

func newGallery(seed uint64, limit int64) *gallery {
	return &gallery{seed: seed, limit: limit, byDigest: map[digest.Digest]value{}}
}

// newImage has a configuration and one to three layers, of which some are those of earlier images.
func (g *gallery) newImage(rng *rand.Rand) *image {
	blobs := []*content{g.newBlob(int64(200 + rng.IntN(2000)))}
	for range 1 + rng.IntN(3) {
		if old := g.someLayer(rng); old != nil && rng.IntN(4) == 0 {
			blobs = append(blobs, old)
			continue
		}
		layer := g.newBlob(g.size(rng))
		blobs = append(blobs, layer)
		g.mu.Lock()
		g.layers = append(g.layers, layer)
		g.mu.Unlock()
	}
	return g.add(blobs)
}

// newManifest is a new image of blobs that there are.
func (g *gallery) add(blobs []*content) *image {
	g.mu.Lock()
	defer g.mu.Unlock()
	img := &image{number: value(len(g.images) + 1), blobs: blobs}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config:      describe(ocispec.MediaTypeImageConfig, blobs[0]),
		Annotations: map[string]string{"number": fmt.Sprint(img.number), "seed": fmt.Sprint(g.seed)},
	}
	for _, layer := range blobs[1:] {
		m.Layers = append(m.Layers, describe(ocispec.MediaTypeImageLayer, layer))
	}
	img.manifest, _ = json.Marshal(m) // of strings and numbers alone
	img.digest = digest.FromBytes(img.manifest)
	g.images = append(g.images, img)
	g.byDigest[img.digest] = img.number
	return img
}

func describe(mediaType string, c *content) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: c.digest, Size: c.size}
}

func (g *gallery) newBlob(size int64) *content {
	return newContent(g.seed<<20+g.blobs.Add(1), size)
}

// size is that of a new layer, any order of magnitude as likely as another. Now and then it is one of the
// ends.
func (g *gallery) size(rng *rand.Rand) int64 {
	size := int64(math.Exp(rng.Float64() * math.Log(largest)))
	switch rng.IntN(16) {
	case 0:
		size = 1
	case 1:
		size = largest
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.made > g.limit {
		size = min(size, 1<<20)
	}
	g.made += size
	return size
}

func (g *gallery) someLayer(rng *rand.Rand) *content {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.layers) == 0 {
		return nil
	}
	return g.layers[rng.IntN(len(g.layers))]
}

// someImage is one of those that were made, nil if there is none.
func (g *gallery) someImage(rng *rand.Rand) *image {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.images) == 0 {
		return nil
	}
	return g.images[rng.IntN(len(g.images))]
}

// image is the one with a number.
func (g *gallery) image(number value) *image {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.images[number-1]
}

// numberOf is the number of the image with a digest; false if it is none of ours.
func (g *gallery) numberOf(d digest.Digest) (value, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ours := g.byDigest[d]
	return v, ours
}
