package transfer

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/fsm/oci"
)

// maxIndex is how many bytes an index.json has at most: a repository of zot's with 100,000 tags has some 30 MB.
const maxIndex = 1 << 30

// readIndex returns the roots that an index.json lists: one for each manifest, with all its tags. zot lists a manifest
// once for each tag, and once without any if it was pushed by its digest.
func readIndex(content []byte) ([]Root, error) {
	var index v1.Index
	if err := json.Unmarshal(content, &index); err != nil {
		return nil, fmt.Errorf("read index.json: %w", err)
	}
	var roots []Root
	at := map[digest.Digest]int{}
	for _, m := range index.Manifests {
		i, known := at[m.Digest]
		if !known {
			i = len(roots)
			at[m.Digest] = i
			roots = append(roots, Root{Digest: m.Digest, MediaType: m.MediaType, Size: m.Size})
		}
		if tag := tagOf(m.Annotations[v1.AnnotationRefName]); tag != "" {
			roots[i].Tags = append(roots[i].Tags, tag)
		}
	}
	return roots, nil
}

// tagOf is the tag of an entry. The annotation is one, says the image specification; some tools write a whole
// reference. What is neither is kept, so that it is told.
func tagOf(name string) string {
	if name == "" || oci.ValidateTag(name) == nil {
		return name
	}
	if _, tag, ok := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":"); ok && oci.ValidateTag(tag) == nil {
		return tag
	}
	return name
}

// writeIndex is the index.json of a repository with these manifests: an entry for each tag, as zot has it, and one for
// each that has none.
func writeIndex(roots []Root) ([]byte, error) {
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	index.SchemaVersion = 2
	for _, r := range roots {
		entry := v1.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size}
		if len(r.Tags) == 0 {
			index.Manifests = append(index.Manifests, entry)
		}
		for _, tag := range r.Tags {
			entry.Annotations = map[string]string{v1.AnnotationRefName: tag}
			index.Manifests = append(index.Manifests, entry)
		}
	}
	return json.Marshal(index)
}
