package images_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/test/e2e/images"
)

// One image, made for skopeo and for the engine, has the same layers inside.
func TestLayoutAndArchiveAgree(t *testing.T) {
	t.Parallel()
	platform := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	layout := images.NewLayout(t)
	image := layout.Image(platform, layout.Layer(1, 1000), layout.Layer(2, 70_000))
	var manifest ocispec.Manifest
	decode(t, layout.Read(image.Digest), &manifest)
	if all := images.Digests(t, layout.Dir); len(all) != 4 || !all[image.Digest] || !all[manifest.Config.Digest] {
		t.Errorf("the layout has %v", all)
	}

	var archive bytes.Buffer
	id, err := images.WriteArchive(&archive, "a:1", platform, images.Part{Seed: 1, Size: 1000}, images.Part{Seed: 2, Size: 70_000})
	if err != nil {
		t.Fatal(err)
	}
	files := read(t, &archive)
	config := files[id.Encoded()+".json"]
	if id != manifest.Config.Digest || digest.FromBytes(config) != id {
		t.Errorf("the image is %s as a layout, and %s as an archive", manifest.Config.Digest, id)
	}
	var described ocispec.Image
	decode(t, config, &described)
	for i, name := range []string{"0/layer.tar", "1/layer.tar"} {
		if got := digest.FromBytes(files[name]); got != described.RootFS.DiffIDs[i] {
			t.Errorf("%s hashes to %s, want %s", name, got, described.RootFS.DiffIDs[i])
		}
	}
	want, err := io.ReadAll(images.Random(2, 70_000))
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, bytes.NewReader(files["1/layer.tar"]))[images.FileName(2)]; !bytes.Equal(got, want) {
		t.Errorf("the file in the second layer has %d bytes, and others than were made", len(got))
	}
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// read is what is in a tar archive, by name.
func read(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}
