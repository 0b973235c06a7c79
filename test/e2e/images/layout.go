// Package images makes images for tests, of bytes that nothing can compress: OCI layouts, which skopeo
// and crane push, and archives that the Docker engine loads.
//
// What it makes depends on the given seeds alone, so that what comes back can be compared. Start with
// Layout.
package images

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout is an OCI image layout in a directory.
type Layout struct {
	Dir   string
	t     testing.TB
	index ocispec.Index
	diffs map[digest.Digest]digest.Digest // of each layer, without compression
}

// NewLayout begins an empty layout.
func NewLayout(t testing.TB) *Layout {
	t.Helper()
	l := &Layout{Dir: t.TempDir(), t: t, diffs: map[digest.Digest]digest.Digest{}}
	l.index.Versioned = specs.Versioned{SchemaVersion: 2}
	l.index.MediaType = ocispec.MediaTypeImageIndex
	l.index.Manifests = []ocispec.Descriptor{}
	if err := os.MkdirAll(filepath.Join(l.Dir, ocispec.ImageBlobsDir, string(digest.SHA256)), 0o750); err != nil {
		t.Fatal(err)
	}
	l.write(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	l.write(ocispec.ImageIndexFile, l.index)
	return l
}

// Blob adds what r has.
func (l *Layout) Blob(mediaType string, r io.Reader) ocispec.Descriptor {
	l.t.Helper()
	f, err := os.CreateTemp(l.Dir, "blob-")
	if err != nil {
		l.t.Fatal(err)
	}
	digester := digest.SHA256.Digester()
	size, err := io.Copy(io.MultiWriter(f, digester.Hash()), r)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		l.t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digester.Digest(), Size: size}
	if err := os.Rename(f.Name(), l.path(d.Digest)); err != nil {
		l.t.Fatal(err)
	}
	return d
}

// Layer adds a layer with one file of size random bytes, as gzip.
func (l *Layout) Layer(seed uint64, size int64) ocispec.Descriptor {
	l.t.Helper()
	diff := digest.SHA256.Digester()
	r, w := io.Pipe()
	go func() { // ends with the last read of Blob
		// Nothing can be gained by trying harder.
		packed, err := gzip.NewWriterLevel(w, gzip.NoCompression)
		if err == nil {
			err = WriteLayer(io.MultiWriter(packed, diff.Hash()), seed, size)
		}
		if err == nil {
			err = packed.Close()
		}
		_ = w.CloseWithError(err) // never fails
	}()
	d := l.Blob(ocispec.MediaTypeImageLayerGzip, r)
	l.diffs[d.Digest] = diff.Digest()
	return d
}

// JSON adds a manifest, index or configuration.
func (l *Layout) JSON(mediaType string, v any) ocispec.Descriptor {
	l.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.Blob(mediaType, bytes.NewReader(text))
}

// Image adds an image of one platform. Its layers come from Layer.
func (l *Layout) Image(platform ocispec.Platform, layers ...ocispec.Descriptor) ocispec.Descriptor {
	l.t.Helper()
	config := ocispec.Image{Platform: platform, RootFS: ocispec.RootFS{Type: "layers"}}
	config.Config.Cmd = []string{"/nothing"}
	for _, layer := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffs[layer.Digest])
		config.History = append(config.History, ocispec.History{CreatedBy: "the tests"})
	}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: l.JSON(ocispec.MediaTypeImageConfig, config), Layers: layers,
	}
	d := l.JSON(ocispec.MediaTypeImageManifest, manifest)
	d.Platform = &platform
	return d
}

// Index adds an index of images.
func (l *Layout) Index(manifests ...ocispec.Descriptor) ocispec.Descriptor {
	l.t.Helper()
	return l.JSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: manifests,
	})
}

// Artifact adds a manifest of no image, which refers to a subject.
func (l *Layout) Artifact(artifactType string, subject ocispec.Descriptor, content ocispec.Descriptor) ocispec.Descriptor {
	l.t.Helper()
	subject.Platform = nil
	return l.JSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: l.Blob(ocispec.MediaTypeEmptyJSON, bytes.NewReader([]byte("{}"))), Layers: []ocispec.Descriptor{content}, Subject: &subject,
	})
}

// Tag gives what was added a name.
func (l *Layout) Tag(name string, d ocispec.Descriptor) {
	l.t.Helper()
	d.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	l.index.Manifests = append(l.index.Manifests, d)
	l.write(ocispec.ImageIndexFile, l.index)
}

// Read is what was added, for what is small.
func (l *Layout) Read(d digest.Digest) []byte {
	l.t.Helper()
	text, err := os.ReadFile(l.path(d))
	if err != nil {
		l.t.Fatal(err)
	}
	return text
}

// Digests are those of all that is in a layout, this one or one that a client wrote.
func Digests(t testing.TB, dir string) map[digest.Digest]bool {
	t.Helper()
	folder := filepath.Join(dir, ocispec.ImageBlobsDir, string(digest.SHA256))
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	all := map[digest.Digest]bool{}
	for _, e := range entries {
		all[verified(t, filepath.Join(folder, e.Name()), digest.NewDigestFromEncoded(digest.SHA256, e.Name()))] = true
	}
	return all
}

// verified is the digest of a file, which must be the wanted one.
func verified(t testing.TB, path string, want digest.Digest) digest.Digest {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it is only read
	got, err := digest.FromReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("%s hashes to %s", path, got)
	}
	return got
}

func (l *Layout) path(d digest.Digest) string {
	return filepath.Join(l.Dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func (l *Layout) write(name string, v any) {
	l.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.Dir, name), text, 0o600); err != nil {
		l.t.Fatal(err)
	}
}
