package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// mediaType is that of the manifests.
const mediaType = v1.MediaTypeImageManifest

// blob is some bytes that no other blob has: a head of its own, and a rest that many share.
type blob struct {
	head   [16]byte
	rest   []byte
	digest digest.Digest
}

// noise is what no disk can make smaller.
func noise(size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}

// newBlob hashes a blob of len(base) bytes. With another number it is another.
func newBlob(base []byte, number uint64) blob {
	b := blob{rest: base[len(blob{}.head):]}
	binary.BigEndian.PutUint64(b.head[:], number)
	h := digest.SHA256.Digester()
	_, _ = h.Hash().Write(b.head[:]) // never fails, says package hash
	_, _ = h.Hash().Write(b.rest)
	b.digest = h.Digest()
	return b
}

func (b blob) size() int64 { return int64(len(b.head) + len(b.rest)) }

func (b blob) reader() io.Reader {
	return io.MultiReader(bytes.NewReader(b.head[:]), bytes.NewReader(b.rest))
}

// example is an image of a configuration and three layers, with as many manifests as there are numbers.
type example struct{ blobs []blob }

func newExample() (e example) {
	for number := range uint64(4) {
		e.blobs = append(e.blobs, newBlob(noise(small), number))
	}
	return e
}

// push pushes the blobs and the first manifest.
func (e example) push(ctx context.Context, c *client) error {
	for _, b := range e.blobs {
		if err := c.pushWhole(ctx, b); err != nil {
			return err
		}
	}
	return c.putManifest(ctx, tag(0), e.manifest(0))
}

// manifest is written as such programs do that push images.
func (e example) manifest(number uint64) []byte {
	b := fmt.Appendf(nil, "{\n   \"schemaVersion\": 2,\n   \"mediaType\": %q,\n   \"config\": %s,\n   \"layers\": [",
		mediaType, descriptor(v1.MediaTypeImageConfig, e.blobs[0]))
	for i, layer := range e.blobs[1:] {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "\n      %s", descriptor(v1.MediaTypeImageLayerGzip, layer))
	}
	return fmt.Appendf(b, "\n   ],\n   \"annotations\": {\"number\": \"%d\"}\n}", number)
}

func descriptor(mediaType string, b blob) string {
	return fmt.Sprintf(`{"mediaType": %q, "digest": %q, "size": %d}`, mediaType, b.digest, b.size())
}
