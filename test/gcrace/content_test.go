package gcrace_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	pool     = 256       // layers that images share
	small    = 256 << 10 // bytes of most layers, at most
	large    = 2 << 20   // of some: large enough that copies are streamed while it arrives
	remember = 64        // images that are pushed again
)

// content is the bytes of a blob.
type content struct {
	bytes  []byte
	digest digest.Digest
}

func newContent(seed, number uint64, size int) *content {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], number)
	c := &content{bytes: make([]byte, size)}
	_, _ = rand.NewChaCha8(key).Read(c.bytes) // never fails
	c.digest = digest.FromBytes(c.bytes)
	return c
}

func (c *content) descriptor(mediaType string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: c.digest, Size: int64(len(c.bytes))}
}

// image is what is pushed as one: blobs, and a manifest that names them.
type image struct {
	blobs    []*content // the configuration first
	manifest []byte
	digest   digest.Digest
}

// inline is how large a manifest may be whose body is no blob.
const inline = 48 << 10

// gallery makes images. Its methods may be called concurrently.
type gallery struct {
	seed   uint64
	layers []*content
	made   atomic.Uint64

	mu     sync.Mutex
	recent []*image // guarded by mu
}

func newGallery(seed uint64) *gallery {
	g := &gallery{seed: seed}
	for i := range pool {
		bytes := int(math.Exp(math.Log(200) + float64(i)/pool*math.Log(small/200)))
		if i%32 == 31 {
			bytes = large
		}
		g.layers = append(g.layers, newContent(seed, uint64(i), bytes))
	}
	return g
}

// some is an image: a new one as often as one of late.
func (g *gallery) some(rng *rand.Rand) *image {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.recent) == remember && rng.IntN(2) == 0 {
		return g.recent[rng.IntN(remember)]
	}
	one := g.image(rng)
	if len(g.recent) < remember {
		g.recent = append(g.recent, one)
	} else {
		g.recent[rng.IntN(remember)] = one
	}
	return one
}

// image makes one with a configuration of its own and two to four layers of the pool. Some of these are in
// every other image and some in few, so that there are always links whose lease is about to end. One in thirty
// has a manifest that is itself stored as a blob.
func (g *gallery) image(rng *rand.Rand) *image {
	number := g.made.Add(1)
	img := &image{blobs: []*content{newContent(g.seed, 1<<32+number, 100+rng.IntN(400))}}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config:      img.blobs[0].descriptor(ocispec.MediaTypeImageConfig),
		Annotations: map[string]string{"number": fmt.Sprint(number), "seed": fmt.Sprint(g.seed)},
	}
	if rng.IntN(30) == 0 {
		m.Annotations["long"] = strings.Repeat("x", inline)
	}
	drawn := map[int]bool{}
	for range 2 + rng.IntN(3) {
		u := rng.Float64()
		if i := int(pool * u * u); !drawn[i] {
			drawn[i] = true
			img.blobs = append(img.blobs, g.layers[i])
			m.Layers = append(m.Layers, g.layers[i].descriptor(ocispec.MediaTypeImageLayer))
		}
	}
	img.manifest, _ = json.Marshal(m) // of strings and numbers alone
	img.digest = digest.FromBytes(img.manifest)
	return img
}

// held is a manifest that may be in a repository.
type held struct {
	repo  string
	image *image
}

// shelves knows which manifests may be there. Its methods may be called concurrently.
type shelves struct {
	mu    sync.Mutex
	all   []held // guarded by mu, as below
	where map[link]int
	puts  map[link]int // how often each was noted
}

func newShelves() *shelves { return &shelves{where: map[link]int{}, puts: map[link]int{}} }

// put notes a manifest. It is called before a push and after it: a delete may come between.
func (s *shelves) put(h held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := link{h.repo, h.image.digest}
	s.puts[l]++
	if _, there := s.where[l]; !there {
		s.where[l] = len(s.all)
		s.all = append(s.all, h)
	}
}

// putsOf is how often a manifest was noted. Who deletes it asks before.
func (s *shelves) putsOf(h held) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts[link{h.repo, h.image.digest}]
}

// take takes out one that was deleted, or was found not to be there, unless it was noted since: it may have been
// deleted before that push, and the answer have come after it.
func (s *shelves) take(h held, puts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := link{h.repo, h.image.digest}
	i, there := s.where[l]
	if !there || s.puts[l] != puts {
		return
	}
	last := len(s.all) - 1
	s.all[i] = s.all[last]
	s.where[link{s.all[i].repo, s.all[i].image.digest}] = i
	s.all = s.all[:last]
	delete(s.where, l)
}

// some is one of them; false if there is none.
func (s *shelves) some(rng *rand.Rand) (held, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return held{}, false
	}
	return s.all[rng.IntN(len(s.all))], true
}

func (s *shelves) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// list is all of them.
func (s *shelves) list() []held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]held(nil), s.all...)
}

// fading is a blob that no manifest of a repository names any more.
type fading struct {
	repo    string
	content *content
	over    time.Time // when its lease is over, and the collector may be about to look
}

// faders are all of them, in the order in which they were deleted. Its methods may be called concurrently.
type faders struct {
	mu  sync.Mutex
	all []fading // guarded by mu
}

func (f *faders) add(one fading) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, one)
}

// due takes out the first of which the lease is over.
func (f *faders) due(now time.Time) (one fading, due bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.all, func(one fading) bool { return !one.over.After(now) })
	if i < 0 {
		return fading{}, false
	}
	one = f.all[i]
	f.all = slices.Delete(f.all, i, i+1)
	return one, true
}
