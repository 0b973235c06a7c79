// Package transfer_test takes images into real nodes and out of them again: from directories as zot of the original kind
// keeps them, from a bucket of such a zot, from CNCF distribution, and from what was exported. Nothing of the product is
// imported: the layout is made here byte by byte, and what came of it is asked over HTTP.
//
// Start with TestZotDirectory; source_test.go makes what is taken in.
package transfer_test

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// zot is the root directory of a zot of the original kind.
type zot struct {
	t     *testing.T
	dir   string
	index map[string][]v1.Descriptor // of each repository
	blobs map[digest.Digest]string   // a file of each
	seed  uint64
}

func newZot(t *testing.T) *zot {
	t.Helper()
	return &zot{t: t, dir: t.TempDir(), index: map[string][]v1.Descriptor{}, blobs: map[digest.Digest]string{}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// path is where a blob of a repository lies.
func (z *zot) path(repository string, d digest.Digest) string {
	return filepath.Join(z.dir, repository, "blobs", d.Algorithm().String(), d.Encoded())
}

// blob adds content to a repository: as zot does, by a hard link if another repository has it.
func (z *zot) blob(repository, mediaType string, content []byte, algorithm digest.Algorithm) v1.Descriptor {
	z.t.Helper()
	d := algorithm.FromBytes(content)
	file := z.path(repository, d)
	must(z.t, os.MkdirAll(filepath.Dir(file), 0o700))
	if have, known := z.blobs[d]; known {
		if have != file {
			_ = os.Remove(file)
			must(z.t, os.Link(have, file))
		}
	} else {
		must(z.t, os.WriteFile(file, content, 0o600))
		z.blobs[d] = file
	}
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))}
}

// random is content that there is nowhere else.
func (z *zot) random(size int) []byte {
	z.seed++
	p := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte(fmt.Appendf(nil, "%032d", z.seed))).Read(p) // never fails
	return p
}

func (z *zot) json(repository, mediaType string, v any, algorithm digest.Algorithm) v1.Descriptor {
	z.t.Helper()
	text, err := json.Marshal(v)
	must(z.t, err)
	return z.blob(repository, mediaType, text, algorithm)
}

// image adds an image that has these layers.
func (z *zot) image(repository string, subject *v1.Descriptor, layers ...[]byte) v1.Descriptor {
	z.t.Helper()
	z.seed++
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Subject: subject}
	if subject != nil {
		m.ArtifactType = "application/vnd.example.signature"
		m.Annotations = map[string]string{"of": "the tests"}
	}
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","number":%d}`, z.seed)
	m.Config = z.blob(repository, v1.MediaTypeImageConfig, config, digest.SHA256)
	for _, layer := range layers {
		m.Layers = append(m.Layers, z.blob(repository, v1.MediaTypeImageLayerGzip, layer, digest.SHA256))
	}
	return z.json(repository, v1.MediaTypeImageManifest, m, digest.SHA256)
}

// list lists a manifest in a repository's index.json, once for each tag, as zot does.
func (z *zot) list(repository string, d v1.Descriptor, tags ...string) {
	if len(tags) == 0 {
		z.index[repository] = append(z.index[repository], d)
	}
	for _, tag := range tags {
		d.Annotations = map[string]string{v1.AnnotationRefName: tag}
		z.index[repository] = append(z.index[repository], d)
	}
}

// kinds adds the repository all/kinds, with everything that one may have.
func (z *zot) kinds() {
	z.t.Helper()
	const repository = "all/kinds"
	amd, arm := z.image(repository, nil, z.random(400<<10)), z.image(repository, nil, z.random(3000))
	index := z.json(repository, v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{amd, arm},
		Annotations: map[string]string{"of": "an index"},
	}, digest.SHA256)
	z.list(repository, index, "all", "newest")
	z.list(repository, amd) // pushed by its digest; zot lists it, but not every tool lists arm
	z.list(repository, z.image(repository, nil, z.random(100)))
	signature := z.image(repository, &index, z.random(10))
	z.list(repository, signature)
	z.list(repository, z.image(repository, &signature, z.random(10)))

	docker := struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Config        v1.Descriptor   `json:"config"`
		Layers        []v1.Descriptor `json:"layers"`
	}{2, dockerManifest, z.blob(repository, dockerConfig, []byte(`{"of":"docker"}`), digest.SHA256), []v1.Descriptor{
		z.blob(repository, dockerLayer, z.random(5000), digest.SHA256),
	}}
	z.list(repository, z.json(repository, dockerManifest, docker, digest.SHA256), "docker")

	long := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	long.Config = z.blob(repository, v1.MediaTypeImageConfig, []byte(`{"of":"sha512"}`), digest.SHA512)
	long.Layers = []v1.Descriptor{z.blob(repository, v1.MediaTypeImageLayerGzip, z.random(300<<10), digest.SHA512), z.blob(repository, v1.MediaTypeImageLayerGzip, nil, digest.SHA512)}
	z.list(repository, z.json(repository, v1.MediaTypeImageManifest, long, digest.SHA512), "long")

	huge := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Annotations: map[string]string{"much": strings.Repeat("text ", 20_000)}}
	huge.Config = docker.Config
	huge.Layers = []v1.Descriptor{}
	z.list(repository, z.json(repository, v1.MediaTypeImageManifest, huge, digest.SHA256), "huge")
}

// write writes every index.json, and what else lies in such a directory.
func (z *zot) write() {
	z.t.Helper()
	for repository, manifests := range z.index {
		text, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: manifests})
		must(z.t, err)
		must(z.t, os.WriteFile(filepath.Join(z.dir, repository, "index.json"), text, 0o600))
		must(z.t, os.WriteFile(filepath.Join(z.dir, repository, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600))
		must(z.t, os.MkdirAll(filepath.Join(z.dir, repository, ".uploads"), 0o700))
		must(z.t, os.WriteFile(filepath.Join(z.dir, repository, ".uploads", "5a1f"), []byte("half a layer"), 0o600))
	}
	for _, dir := range []string{"_trivy/db", "_sync", "_sessions"} {
		must(z.t, os.MkdirAll(filepath.Join(z.dir, dir), 0o700))
		must(z.t, os.WriteFile(filepath.Join(z.dir, dir, "index.json"), []byte("no repository"), 0o600))
	}
	must(z.t, os.WriteFile(filepath.Join(z.dir, "cache.db"), []byte("which blobs are the same"), 0o600))
}

// people writes a database with what users have left, under a name that a version of zot gives it.
func (z *zot) people(name string, users map[string]string) {
	z.t.Helper()
	db, err := bolt.Open(filepath.Join(z.dir, name), 0o600, nil)
	must(z.t, err)
	must(z.t, db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("UserData"))
		for user, data := range users {
			err = cmp.Or(err, b.Put([]byte(user), []byte(data)))
		}
		return err
	}))
	must(z.t, db.Close())
}

// trusted writes a key of cosign and a certificate of notation where zot keeps them, and what is not to be taken.
func (z *zot) trusted() {
	z.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	must(z.t, err)
	public, err := x509.MarshalPKIXPublicKey(k.Public())
	must(z.t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	certificate, err := x509.CreateCertificate(crand.Reader, c, c, k.Public(), k)
	must(z.t, err)
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	elsewhere := filepath.Join(z.t.TempDir(), "elsewhere.pub")
	for name, content := range map[string][]byte{
		filepath.Join(z.dir, "_cosign/sha256:1234"):                              pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		filepath.Join(z.dir, "_cosign/readme"):                                   []byte("no key"),
		filepath.Join(z.dir, "_notation/trustpolicy.json"):                       []byte("{}"),
		filepath.Join(z.dir, "_notation/truststore/x509/ca/default/sha256:5678"): bytes.Repeat(one, 60<<10/len(one)), // as large as the authorities of a company may be
		elsewhere: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	} {
		must(z.t, os.MkdirAll(filepath.Dir(name), 0o700))
		must(z.t, os.WriteFile(name, content, 0o600))
	}
	must(z.t, os.Symlink(elsewhere, filepath.Join(z.dir, "_cosign/link")))
}

// tags are all tags: "repository:tag" and the digest.
func (z *zot) tags() map[string]digest.Digest {
	all := map[string]digest.Digest{}
	for repository, manifests := range z.index {
		for _, m := range manifests {
			if tag := m.Annotations[v1.AnnotationRefName]; tag != "" {
				all[repository+":"+tag] = m.Digest
			}
		}
	}
	return all
}

// many adds so many images in repositories of twenty, with a layer that all have and some that are of several chunks.
func (z *zot) many(n int) {
	z.t.Helper()
	base := z.random(20_000)
	for i := range n {
		repository := fmt.Sprintf("team-%d/app-%d", i/20%5, i/20)
		if i/20 == 7 {
			repository = "team-2" // one below which others lie
		}
		layers := [][]byte{base, z.random(1000)}
		if i%10 == 0 {
			layers = append(layers, z.random(600<<10))
		}
		z.list(repository, z.image(repository, nil, layers...), fmt.Sprintf("v%d", i))
	}
}

// inodes are the numbers of files below a directory.
func inodes(t *testing.T, dir string, wanted func(name string) bool) map[uint64]string {
	t.Helper()
	all := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && wanted(path) {
			var number uint64
			number, err = inode(path)
			all[number] = path
		}
		return err
	}))
	return all
}

// stubbed copies the directory to another as zot keeps it in a bucket: only one repository has the bytes of a blob, and
// all others an empty object.
func (z *zot) stubbed(to func(key string) string) {
	z.t.Helper()
	seen := map[string]bool{}
	var files []string
	must(z.t, filepath.WalkDir(z.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !strings.HasSuffix(path, ".db") && !strings.Contains(path, "/_") {
			files = append(files, path)
		}
		return err
	}))
	slices.Reverse(files) // the first in the order of names is a stub for most
	for _, file := range files {
		key, err := filepath.Rel(z.dir, file)
		must(z.t, err)
		content, err := os.ReadFile(file)
		must(z.t, err)
		if name := filepath.Base(file); strings.Contains(file, "/blobs/") {
			if seen[name] {
				content = nil
			}
			seen[name] = true
		}
		must(z.t, os.MkdirAll(filepath.Dir(to(key)), 0o700))
		must(z.t, os.WriteFile(to(key), content, 0o600))
	}
	if len(seen) == 0 {
		z.t.Fatal("no blobs")
	}
}
