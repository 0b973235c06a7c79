package fsm

import (
	"github.com/seed-16d79997/zot/fsm/oci"
)

// Manifest is a manifest of a repository, without its body.
type Manifest struct {
	Digest       Digest
	Size         int64
	MediaType    string
	Inline       bool // Body has it; else it is a blob of the repository
	Subject      Digest
	ArtifactType string
	PushedAt     int64 // Unix milliseconds, by the last put
	UntaggedAt   int64 // Unix milliseconds, when a tag last ceased to name it; 0: none has
}

// Resolve returns the manifest that a reference names in a repository.
//
// It fails with ErrRepositoryUnknown or ErrManifestUnknown.
func (v View) Resolve(repository string, ref oci.Reference) (Manifest, error) {
	d, err := v.named(repository, ref)
	if err != nil {
		return Manifest{}, err
	}
	m, there := v.Manifest(repository, d)
	if there {
		return m, nil
	}
	if _, exists := v.repository(repository); !exists {
		return Manifest{}, ErrRepositoryUnknown.with("%s", repository)
	}
	return Manifest{}, ErrManifestUnknown.with("%s in repository %s", ref, repository)
}

// named is the digest of a reference, "" of a tag that does not exist.
func (v View) named(repository string, ref oci.Reference) (Digest, error) {
	if ref.Digest == "" {
		t, _ := v.tag(repository, ref.Tag)
		return t.Digest, nil
	}
	d, err := Pack(ref.Digest)
	if err != nil {
		return "", ErrManifestUnknown.with("%s in repository %s: %s", ref, repository, err)
	}
	return d, nil
}

// Manifest returns a manifest by digest, and whether the repository has it.
func (v View) Manifest(repository string, d Digest) (Manifest, bool) {
	m, there := v.manifest(repository, d)
	return m.export(d), there
}

func (m manifestRecord) export(d Digest) Manifest {
	return Manifest{d, m.Size, m.MediaType, m.Inline, m.Subject, m.ArtifactType, m.PushedAt, m.UntaggedAt}
}

// Manifests returns the manifests of a repository in the order of their digests, from the one behind
// after on, n at most.
func (v View) Manifests(repository string, after Digest, n int) []Manifest {
	prefix := within(repository)
	start := prefix
	if after != "" {
		start = beyond(within(repository, string(after)))
	}
	var all []Manifest
	for key, value := range v.scan(manifests, prefix, start) {
		if len(all) == n {
			break
		}
		all = append(all, mustDecode[manifestRecord](value).export(Digest(key[len(prefix):])))
	}
	return all
}

// Loose returns the manifests of a repository that no tag names and no index lists, in the order of their
// digests, from the one behind after on, n at most.
func (v View) Loose(repository string, after Digest, n int) []Digest {
	return v.digests(loose, within(repository), after, n)
}

// ManifestLike returns the first manifest of a repository whose digest begins with some bytes, and whether
// there is one.
func (v View) ManifestLike(repository string, beginning []byte) (Digest, bool) {
	return v.manifestLike(repository, beginning)
}

// Body returns the body of an inline manifest, nil for any other.
func (v View) Body(repository string, d Digest) []byte {
	return v.get(bodies, within(repository, string(d)))
}

// References returns what a manifest names: blobs of the repository, those that need not be there only if
// they are, and a large body itself; and the children of an index.
func (v View) References(repository string, d Digest) (blobs, manifests []Digest) {
	refs := v.references(repository, d)
	return refs.Blobs, refs.Manifests
}

// NamedBy returns manifests of a repository that name a blob, from the one behind after on, n at most.
func (v View) NamedBy(repository string, blob, after Digest, n int) []Digest {
	return v.digests(namedBy, namedByKey(repository, asBlob, blob, ""), after, n)
}

// ListedBy returns indexes of a repository that list a manifest, from the one behind after on, n at most.
func (v View) ListedBy(repository string, manifest, after Digest, n int) []Digest {
	return v.digests(namedBy, namedByKey(repository, asManifest, manifest, ""), after, n)
}

// Referrer is a manifest whose subject was asked for.
type Referrer struct {
	Digest       Digest
	Size         int64
	MediaType    string
	ArtifactType string
	Annotations  map[string]string
	InBody       bool // it has more annotations than the state keeps: they are in its body
}

// Referrers returns the manifests of a repository whose subject is this one, all or those of one artifact
// type, in the order of artifact type and digest, n at most. After is the last of the page before, of which
// only these two fields are used; its zero value asks for the first page. Neither repository nor subject
// need exist.
func (v View) Referrers(repository string, subject Digest, artifactType string, after Referrer, n int) []Referrer {
	prefix := referrersOf(repository, subject, artifactType)
	start := prefix
	if after.Digest != "" {
		start = beyond(referrerKey(repository, subject, after.ArtifactType, after.Digest))
	}
	var all []Referrer
	for _, value := range v.scan(referrers, prefix, start) {
		if len(all) == n {
			break
		}
		all = append(all, Referrer(mustDecode[referrerRecord](value)))
	}
	return all
}

// Pulls returns how often a manifest was pulled, and the newest time in Unix milliseconds, 0 for never.
func (v View) Pulls(repository string, d Digest) (count uint64, newest int64) {
	p := v.pulls(repository, d)
	return p.Count, p.Newest
}
