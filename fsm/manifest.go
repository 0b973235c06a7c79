package fsm

import (
	"bytes"
	"slices"
)

// The bounds of a manifest (DESIGN 2).
const (
	maxInline      = 48 << 10 // of a body that is kept in the state; a larger one is a blob
	maxManifest    = 4 << 20  // of any body
	maxReferences  = 4096     // distinct ones
	maxAnnotations = 16 << 10 // keys and values together
	maxMediaType   = 255
)

// as says in what role a manifest names a digest. The same bytes may be both: a body of more than
// 48 KiB is a blob too.
type as byte

const (
	asBlob     as = 'b' // counted by the link
	asManifest as = 'm' // a child of an index: a manifest of the same repository
)

// manifestRecord is what requests ask of a manifest: small, because HEAD is the hottest path.
type manifestRecord struct {
	Size         int64  `cbor:"1,keyasint"`
	MediaType    string `cbor:"2,keyasint"`
	Inline       bool   `cbor:"3,keyasint,omitempty"` // the body is in bodies, else it is a blob
	Subject      Digest `cbor:"4,keyasint,omitempty"`
	ArtifactType string `cbor:"5,keyasint,omitempty"`
	PushedAt     int64  `cbor:"6,keyasint,omitempty"` // Unix milliseconds, by the last put
	UntaggedAt   int64  `cbor:"7,keyasint,omitempty"` // Unix milliseconds, when a tag last ceased to name it
	Touched      uint64 `cbor:"8,keyasint,omitempty"` // log index of the later of the two
}

// inState is how many bytes of it the state has; the link of a large body counts them itself.
func (m manifestRecord) inState() int64 {
	if !m.Inline {
		return 0
	}
	return m.Size
}

// referencesRecord is what a manifest names, in order, each digest once in each list.
type referencesRecord struct {
	Blobs     []Digest `cbor:"1,keyasint,omitempty"` // counted by their links
	Manifests []Digest `cbor:"2,keyasint,omitempty"`
}

// referrerRecord is a manifest in the answer to a question for the referrers of its subject.
type referrerRecord struct {
	Digest       Digest            `cbor:"1,keyasint"`
	Size         int64             `cbor:"2,keyasint"`
	MediaType    string            `cbor:"3,keyasint"`
	ArtifactType string            `cbor:"4,keyasint,omitempty"`
	Annotations  map[string]string `cbor:"5,keyasint,omitempty"`
	InBody       bool              `cbor:"6,keyasint,omitempty"` // there are more annotations, in the body only
}

// pullsRecord is how often and when a manifest was pulled, for retention.
type pullsRecord struct {
	Count  uint64 `cbor:"1,keyasint"`
	Newest int64  `cbor:"2,keyasint"` // Unix milliseconds
	Last   uint64 `cbor:"3,keyasint"` // log index at which it was counted last
}

func (r reader) manifest(repository string, d Digest) (manifestRecord, bool) {
	return load[manifestRecord](r, manifests, within(repository, string(d)))
}

// manifestLike returns the first manifest of a repository whose digest begins with some bytes.
func (r reader) manifestLike(repository string, beginning []byte) (Digest, bool) {
	for key := range r.scan(manifests, within(repository, string(beginning)), nil) {
		return Digest(bytes.Clone(key[len(repository)+1:])), true
	}
	return "", false
}

// isLoose reports whether a manifest is there, and no tag names it and no index lists it.
func (r reader) isLoose(repository string, d Digest) bool {
	_, listed := r.nameOf(repository, asManifest, d)
	return !listed && r.has(manifests, within(repository, string(d))) && len(r.tagsOf(repository, d, 1)) == 0
}

// settle puts a manifest into the index of the loose ones or takes it out, after what names it has changed.
func (t *tx) settle(repository string, d Digest) {
	if t.isLoose(repository, d) {
		t.put(loose, within(repository, string(d)), nil)
	} else {
		t.del(loose, within(repository, string(d)))
	}
}

// touch changes what is remembered of a manifest, if it is there, and notes that this entry has.
func (t *tx) touch(repository string, d Digest, change func(*manifestRecord)) {
	m, there := t.manifest(repository, d)
	if !there {
		return
	}
	change(&m)
	m.Touched = t.index
	t.save(manifests, within(repository, string(d)), m)
}

func (r reader) pulls(repository string, d Digest) pullsRecord {
	p, _ := load[pullsRecord](r, pulls, within(repository, string(d)))
	return p
}

// judgePulls refuses with ErrNeeded if a manifest was pulled after a log index.
func (r reader) judgePulls(repository string, d Digest, index uint64) error {
	if last := r.pulls(repository, d).Last; last > index {
		return ErrNeeded.with("%s was pulled, by entry %d", d, last)
	}
	return nil
}

func (r reader) references(repository string, d Digest) referencesRecord {
	refs, _ := load[referencesRecord](r, references, within(repository, string(d)))
	return refs
}

func namedByKey(repository string, role as, d, manifest Digest) []byte {
	return within(repository, string([]byte{byte(role)}), string(d), string(manifest))
}

// nameOf returns a manifest of the repository that names d in a role, if there is one.
func (r reader) nameOf(repository string, role as, d Digest) (Digest, bool) {
	prefix := namedByKey(repository, role, d, "")
	for key := range r.scan(namedBy, prefix, nil) {
		return Digest(bytes.Clone(key[len(prefix):])), true
	}
	return "", false
}

// referrersOf is the prefix of the referrers of a subject, all or those of one artifact type.
func referrersOf(repository string, subject Digest, artifactType string) []byte {
	if artifactType == "" {
		return within(repository, string(subject))
	}
	return within(repository, string(subject), artifactType, "\x00")
}

func referrerKey(repository string, subject Digest, artifactType string, d Digest) []byte {
	return within(repository, string(subject), artifactType, "\x00", string(d))
}

// distinct returns digests in order, each once.
func distinct(digests []Digest) []Digest {
	return slices.Compact(slices.Sorted(slices.Values(digests)))
}
