package signed_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/auth/signed"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// repository is one in memory.
type repository struct {
	tags    map[string]digest.Digest
	content map[digest.Digest][]byte
	// about has what has a subject.
	about map[digest.Digest][]v1.Descriptor
	// reads counts the blobs that were read, and the most that was asked for, of a manifest too.
	reads        int
	most         int64
	mostManifest int64
}

var _ signed.Repository = (*repository)(nil)

// recorded returns what testdata has.
func recorded(tb testing.TB) *repository {
	tb.Helper()
	r := &repository{tags: map[string]digest.Digest{}, content: map[digest.Digest][]byte{}, about: map[digest.Digest][]v1.Descriptor{}}
	if err := json.Unmarshal(must(os.ReadFile("testdata/tags.json")), &r.tags); err != nil {
		tb.Fatal(err)
	}
	for _, name := range must(filepath.Glob("testdata/blobs/*")) {
		body := must(os.ReadFile(name))
		if d := r.put(body); d.Encoded() != filepath.Base(name) {
			tb.Fatalf("%s has another digest", name)
		}
	}
	return r
}

// put stores bytes, as a referrer if they have a subject.
func (r *repository) put(body []byte) digest.Digest {
	d := digest.FromBytes(body)
	if _, ok := r.content[d]; ok {
		return d
	}
	r.content[d] = body
	var m v1.Manifest
	if json.Unmarshal(body, &m) == nil && m.Subject != nil {
		if m.ArtifactType == "" {
			m.ArtifactType = m.Config.MediaType
		}
		r.about[m.Subject.Digest] = append(r.about[m.Subject.Digest], v1.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(body)), ArtifactType: m.ArtifactType})
	}
	return d
}

// blob stores bytes, and returns their descriptor.
func (r *repository) blob(mediaType string, body []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: r.put(body), Size: int64(len(body))}
}

// image returns the descriptor of what a tag names.
func (r *repository) image(tag string) v1.Descriptor {
	body := r.content[r.tags[tag]]
	var m v1.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		panic(err)
	}
	return v1.Descriptor{MediaType: m.MediaType, Digest: r.tags[tag], Size: int64(len(body))}
}

// manifest returns a manifest to change, of what is beside an image.
func (r *repository) manifest(d digest.Digest) v1.Manifest {
	var m v1.Manifest
	if err := json.Unmarshal(r.content[d], &m); err != nil {
		panic(err)
	}
	return m
}

// attach stores a manifest with an image as its subject.
func (r *repository) attach(m v1.Manifest, to v1.Descriptor) {
	m.Subject = &to
	r.put(must(json.Marshal(m)))
}

// payloads stores a manifest of payloads under the tag that an image's signatures have.
func (r *repository) payloads(m v1.Manifest, of v1.Descriptor) {
	r.tags[sigTag(of)] = r.put(must(json.Marshal(m)))
}

func sigTag(of v1.Descriptor) string {
	return of.Digest.Algorithm().String() + "-" + of.Digest.Encoded() + ".sig"
}

func (r *repository) Tagged(_ context.Context, tag string) (d digest.Digest, ok bool, err error) {
	d, ok = r.tags[tag]
	return d, ok, nil
}

func (r *repository) Referrers(_ context.Context, subject digest.Digest, artifactType string, n int) (all []digest.Digest, err error) {
	for _, d := range r.about[subject] {
		if d.ArtifactType == artifactType && len(all) < n {
			all = append(all, d.Digest)
		}
	}
	return all, nil
}

func (r *repository) Manifest(_ context.Context, d digest.Digest, most int64) (body []byte, ok bool, err error) {
	r.mostManifest = max(r.mostManifest, most)
	body, ok = r.content[d]
	return body, ok && int64(len(body)) <= most, nil
}

func (r *repository) Blob(_ context.Context, d v1.Descriptor, most int64) (body []byte, ok bool, err error) {
	r.reads++
	r.most = max(r.most, most)
	body, ok = r.content[d.Digest]
	return body, ok && int64(len(body)) <= most, nil
}

// file returns a key or certificate of testdata.
func file(name string) []byte { return must(os.ReadFile("testdata/keys/" + name)) }

func publicKey(name string) signed.Trusted {
	return signed.Trusted{Tool: signed.Cosign, Content: file(name + ".pub")}
}

func certificate(store, name string) signed.Trusted {
	return signed.Trusted{Tool: signed.Notation, Store: store, Content: file(name + ".crt")}
}

// everybody returns all who have signed something.
func everybody() []signed.Trusted {
	return []signed.Trusted{
		publicKey("p256"), publicKey("p384"), publicKey("p521"), publicKey("rsa"), publicKey("ed25519"), certificate("ca", "root"),
	}
}

// line is a signature without its digest, in words.
func line(s signed.Signature) string {
	words := string(s.Tool)
	if !s.Trusted {
		words += " untrusted"
	}
	for _, name := range []string{"p256", "p384", "p521", "rsa", "ed25519", "another"} {
		if s.Author == string(file(name+".pub")) {
			return words + " " + name
		}
	}
	if s.Author != "" {
		words += " " + s.Author
	}
	return words
}

// lines returns signatures in words.
func lines(all []signed.Signature) []string {
	var words []string
	for _, s := range all {
		words = append(words, line(s))
	}
	return words
}

// sorted is lines in their own order: that of digests changes when testdata is made anew.
func sorted(all []signed.Signature) []string { return slices.Sorted(slices.Values(lines(all))) }

// clone returns a repository to change.
func (r *repository) clone() *repository {
	c := &repository{tags: maps.Clone(r.tags), content: maps.Clone(r.content), about: map[digest.Digest][]v1.Descriptor{}}
	for d, all := range r.about {
		c.about[d] = slices.Clone(all)
	}
	return c
}
