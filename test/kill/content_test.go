package kill_test

import (
	_ "crypto/sha256" // digest.Algorithm looks them up
	_ "crypto/sha512"
	"encoding/base64"
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
	padding  = 45 << 10 // bytes in an annotation, 60 KiB as base64: the manifest does not fit into the log
	pageSize = 64 << 10
)

// content is bytes that need not be kept: each page follows from the seed and its number, so that any
// part can be made again, to be sent or compared.
type content struct {
	seed   uint64
	size   int64
	digest digest.Digest
}

func newContent(seed uint64, size int64, by digest.Algorithm) *content {
	c := &content{seed: seed, size: size}
	d := by.Digester()
	_, _ = io.Copy(d.Hash(), c.from(0)) // neither fails
	c.digest = d.Digest()
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

// image is what is pushed as one: blobs, and a manifest that names them; or an index, and the images that it
// lists.
type image struct {
	number    value
	blobs     []*content // the configuration first
	parts     []*image   // of an index
	mediaType string
	manifest  []byte
	digest    digest.Digest
}

// isLarge reports whether the manifest is too large for the log: its body is stored like a blob.
func (i *image) isLarge() bool { return len(i.manifest) > 48<<10 }

// gallery makes images, and knows all that were made. Its methods may be called concurrently.
type gallery struct {
	seed  uint64
	limit int64 // bytes of layers, after which they become small

	blobs atomic.Uint64 // made so far

	mu       sync.Mutex
	made     int64 // bytes; guarded by mu
	images   []*image
	offered  []*image // all but those that an index lists: nobody deletes these
	byDigest map[digest.Digest]value
	layers   []*content
}

func newGallery(seed uint64, limit int64) *gallery {
	return &gallery{seed: seed, limit: limit, byDigest: map[digest.Digest]value{}}
}

// newImage is an image, or now and then an index of two that no other lists.
func (g *gallery) newImage(rng *rand.Rand) *image {
	if rng.IntN(12) > 0 {
		return g.add(&image{blobs: g.newBlobs(rng)}, g.pad(rng), true)
	}
	index := &image{}
	for range 2 {
		index.parts = append(index.parts, g.add(&image{blobs: g.newBlobs(rng)}, g.pad(rng), false))
	}
	return g.add(index, g.pad(rng), true)
}

// pad is a long annotation for one image in ten.
func (g *gallery) pad(rng *rand.Rand) string {
	if rng.IntN(10) > 0 {
		return ""
	}
	long, _ := io.ReadAll(g.newBlob(padding, digest.SHA256).from(0)) // it does not fail
	return base64.StdEncoding.EncodeToString(long)
}

// newBlobs are a configuration and one to three layers, of which some are those of earlier images.
func (g *gallery) newBlobs(rng *rand.Rand) []*content {
	blobs := []*content{g.newBlob(int64(200+rng.IntN(2000)), digest.SHA256)}
	for range 1 + rng.IntN(3) {
		if old := g.someLayer(rng); old != nil && rng.IntN(4) == 0 {
			blobs = append(blobs, old)
			continue
		}
		by := digest.SHA256
		if rng.IntN(8) == 0 {
			by = digest.SHA512
		}
		layer := g.newBlob(g.size(rng), by)
		blobs = append(blobs, layer)
		g.mu.Lock()
		g.layers = append(g.layers, layer)
		g.mu.Unlock()
	}
	return blobs
}

// add makes the manifest of a new image, which has its blobs or parts. Those that are offered may be pushed again,
// and deleted.
func (g *gallery) add(img *image, pad string, offered bool) *image {
	g.mu.Lock()
	defer g.mu.Unlock()
	img.number = value(len(g.images) + 1)
	img.mediaType = ocispec.MediaTypeImageManifest
	if len(img.parts) > 0 {
		img.mediaType = ocispec.MediaTypeImageIndex
	}
	annotations := map[string]string{"number": fmt.Sprint(img.number), "seed": fmt.Sprint(g.seed)}
	if pad != "" {
		annotations["pad"] = pad
	}
	img.manifest, _ = json.Marshal(img.describe(annotations)) // of strings and numbers alone
	img.digest = digest.FromBytes(img.manifest)
	g.images = append(g.images, img)
	if offered {
		g.offered = append(g.offered, img)
	}
	g.byDigest[img.digest] = img.number
	return img
}

// describe is the manifest.
func (i *image) describe(annotations map[string]string) any {
	version := specs.Versioned{SchemaVersion: 2}
	if len(i.parts) > 0 {
		m := ocispec.Index{Versioned: version, MediaType: i.mediaType, Annotations: annotations}
		for _, p := range i.parts {
			m.Manifests = append(m.Manifests, ocispec.Descriptor{MediaType: p.mediaType, Digest: p.digest, Size: int64(len(p.manifest))})
		}
		return m
	}
	m := ocispec.Manifest{Versioned: version, MediaType: i.mediaType, Config: i.blobs[0].as(ocispec.MediaTypeImageConfig), Annotations: annotations}
	for _, layer := range i.blobs[1:] {
		m.Layers = append(m.Layers, layer.as(ocispec.MediaTypeImageLayer))
	}
	return m
}

func (c *content) as(mediaType string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: c.digest, Size: c.size}
}

func (g *gallery) newBlob(size int64, by digest.Algorithm) *content {
	return newContent(g.seed<<20+g.blobs.Add(1), size, by)
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
	if len(g.offered) == 0 {
		return nil
	}
	return g.offered[rng.IntN(len(g.offered))]
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
