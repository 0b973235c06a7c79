package oci_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/fsm/oci"
)

func FuzzParseManifest(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("", body)
		f.Add(v1.MediaTypeImageManifest, body)
	}
	f.Add(v1.MediaTypeImageIndex+";a=b", []byte(`{"schemaVersion":2,"manifests":[],"manifests":[null]}`))
	f.Fuzz(func(t *testing.T, mediaType string, body []byte) {
		m, err := oci.ParseManifest(mediaType, body, digest.SHA256)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkManifest(t, m, body)
	})
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	for _, known := range []error{
		oci.ErrManifestInvalid, oci.ErrManifestTooLarge, oci.ErrMediaTypeUnsupported, oci.ErrTooManyReferences,
	} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Fatalf("undocumented error %v", err)
}

// checkManifest checks what the rest of the registry relies on.
func checkManifest(t *testing.T, m oci.Manifest, body []byte) {
	t.Helper()
	if m.Digest != digest.FromBytes(body) || m.Size != int64(len(body)) {
		t.Fatalf("digest %s, size %d", m.Digest, m.Size)
	}
	if oci.IsIndex(m.MediaType) != (m.Config == nil) {
		t.Fatalf("%s with config %v", m.MediaType, m.Config)
	}
	if len(m.References)+len(m.Optional) > oci.MaxReferences {
		t.Fatalf("%d and %d references", len(m.References), len(m.Optional))
	}
	seen := map[digest.Digest]bool{}
	for _, refs := range [][]oci.Ref{m.References, m.Optional} {
		for _, r := range refs {
			if seen[r.Digest] {
				t.Fatalf("%s occurs twice", r.Digest)
			}
			seen[r.Digest] = true
			if _, err := oci.ParseDigest(string(r.Digest)); err != nil || r.Size < 0 {
				t.Fatalf("reference %+v: %v", r, err)
			}
		}
	}
	for _, listed := range [][]v1.Descriptor{m.Layers, m.Manifests} {
		for _, d := range listed {
			if !seen[d.Digest] {
				t.Fatalf("%s is listed but not referred to", d.Digest)
			}
		}
	}
	if m.Subject != nil {
		if _, err := oci.ParseDigest(string(m.Subject.Digest)); err != nil {
			t.Fatalf("subject: %v", err)
		}
	}
}
