package images

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Part is one layer of an Archive.
type Part struct {
	Seed uint64
	Size int64
}

// WriteArchive writes an image of one platform as `docker load` takes it, and returns the image's id.
// The layers are hashed first, then written: each is made twice, and none is ever held.
func WriteArchive(w io.Writer, tag string, platform ocispec.Platform, parts ...Part) (digest.Digest, error) {
	config, layers, err := archiveConfig(platform, parts)
	if err != nil {
		return "", err
	}
	id := digest.FromBytes(config)
	names := make([]string, len(parts))
	for i := range parts {
		names[i] = fmt.Sprintf("%d/layer.tar", i)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": id.Encoded() + ".json", "RepoTags": []string{tag}, "Layers": names}})
	if err != nil {
		return "", err
	}
	archive := tar.NewWriter(w)
	for i, p := range parts {
		if err := archive.WriteHeader(&tar.Header{Name: names[i], Mode: 0o644, Size: layers[i].Size}); err != nil {
			return "", err
		}
		if err := WriteLayer(archive, p.Seed, p.Size); err != nil {
			return "", err
		}
	}
	for _, file := range []struct {
		name string
		body []byte
	}{{id.Encoded() + ".json", config}, {"manifest.json", manifest}} {
		if err := archive.WriteHeader(&tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(file.body))}); err != nil {
			return "", err
		}
		if _, err := archive.Write(file.body); err != nil {
			return "", err
		}
	}
	return id, archive.Close()
}

func archiveConfig(platform ocispec.Platform, parts []Part) (config []byte, layers []ocispec.Descriptor, err error) {
	image := ocispec.Image{Platform: platform, RootFS: ocispec.RootFS{Type: "layers"}}
	image.Config.Cmd = []string{"/nothing"}
	for _, p := range parts {
		digester := digest.SHA256.Digester()
		counted := &counter{w: digester.Hash()}
		if err := WriteLayer(counted, p.Seed, p.Size); err != nil {
			return nil, nil, err
		}
		layers = append(layers, ocispec.Descriptor{Digest: digester.Digest(), Size: counted.n})
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, digester.Digest())
		image.History = append(image.History, ocispec.History{CreatedBy: "the tests"})
	}
	config, err = json.Marshal(image)
	return config, layers, err
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
