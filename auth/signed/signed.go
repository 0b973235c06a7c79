// Package signed finds out who has signed an image, by the keys and certificates that administrators trust.
//
// Signatures are those of cosign, in both its forms (cosign.go), and of notation (notation.go). They lie beside the image, put there by
// anybody who may push, so all of it is bounded: how many are looked at, how large they are, and what verifying one costs. What is
// malformed, too large or by nobody who is trusted is found all the same, as not trusted.
//
// The package knows nothing of HTTP, of how keys are kept, or of configuration. It keeps nothing between calls. Only one thing may leave
// this machine: whether a certificate that somebody trusted has issued has been revoked is asked of the addresses that it names
// (revocation.go, network.go).
package signed

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/notaryproject/notation-go"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tool is what a signature is made with.
type Tool string

// The tools whose signatures are found.
const (
	Cosign   Tool = "cosign"
	Notation Tool = "notation"
)

// The bounds of a call.
const (
	maxSignatures = 100      // of each form: else one manifest of many hid those of all others
	maxReferrers  = 1000     // of each type: most bundles of an image may attest something
	maxRead       = 16 << 20 // bytes, of all manifests and blobs together
	maxManifest   = 1 << 20  // bytes of a manifest that has signatures; it may have many, each with certificates
)

// Repository is where an image and its signatures lie. Errors other than "is not there" are returned by Of.
type Repository interface {
	// Tagged returns the digest of the manifest that a tag names; ok false if there is none.
	Tagged(ctx context.Context, tag string) (d digest.Digest, ok bool, err error)
	// Referrers returns the manifests of an artifact type that have a subject, at most n of them.
	Referrers(ctx context.Context, subject digest.Digest, artifactType string, n int) ([]digest.Digest, error)
	// Manifest returns bytes that have been verified against the digest; ok false if there are none, or more than most. Then none are read.
	Manifest(ctx context.Context, d digest.Digest, most int64) (body []byte, ok bool, err error)
	// Blob is Manifest for a blob.
	Blob(ctx context.Context, d v1.Descriptor, most int64) (body []byte, ok bool, err error)
}

// Signature is one that somebody has put beside an image.
type Signature struct {
	Tool    Tool
	Digest  digest.Digest // of the manifest that has it; an older one of cosign may have several
	Trusted bool
	// Author is, of cosign, the key that verifies it, in PEM, and "" if none does. Of notation it is the subject of the certificate whose
	// key has made it, also if that is not trusted: then anybody can have written it.
	Author string
}

// Of returns the signatures of an image: at most 100 of cosign's tag, which come first, and 100 of each artifact type, in the order of their
// manifests' digests. It reads 16 MiB of them and of what they sign; what is beyond is not trusted, or not found. It verifies by keys
// for about a second, which a hundred signatures by a hundred keys on P-256 take; what is beyond is not trusted.
//
// Image is the descriptor of a manifest or index, complete: notation signs media type and size, too. Of trusted, what Check refuses
// trusts nobody.
//
// An error says that something could not be read now, or that the context has ended. Of asks other servers only about certificates that
// somebody trusted has issued and that name such servers, and for five seconds and 4 MiB at most. A signature whose certificate they
// say nothing of is not trusted.
func Of(ctx context.Context, in Repository, image v1.Descriptor, trusted []Trusted) ([]Signature, error) {
	if err := image.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("image %q: %w", image.Digest, err)
	}
	s := &search{in: in, image: image, trust: newTrust(trusted), left: maxRead, blobs: map[digest.Digest][]byte{}}
	seen := map[digest.Digest]bool{}

	tagged, ok, err := in.Tagged(ctx, tagOf(image.Digest))
	if err != nil {
		return nil, fmt.Errorf("tag of signatures of %s: %w", image.Digest, err)
	}
	if ok {
		if err := s.look(ctx, tagged, &form{tool: Cosign, read: (*search).payloads}); err != nil {
			return nil, err
		}
		seen[tagged] = len(s.found) > 0 // else it may be of another form: anybody who may push may have moved the tag there
	}
	var referrers []referrer
	for artifactType, f := range forms() { // each asked for by itself: what else an image has, as what is in it, hides none
		all, err := in.Referrers(ctx, image.Digest, artifactType, maxReferrers)
		if err != nil {
			return nil, fmt.Errorf("referrers of %s: %w", image.Digest, err)
		}
		for _, d := range all {
			referrers = append(referrers, referrer{d, f})
		}
	}
	slices.SortFunc(referrers, func(a, b referrer) int { return cmp.Compare(a.digest, b.digest) })
	for _, r := range referrers {
		if seen[r.digest] {
			continue
		}
		seen[r.digest] = true
		if err := s.look(ctx, r.digest, r.form); err != nil {
			return nil, err
		}
	}
	return s.found, nil
}

// referrer is a manifest that may have signatures of an image.
type referrer struct {
	digest digest.Digest
	form   *form
}

// form is one of the forms that signatures have.
type form struct {
	tool Tool
	// read appends what signatures a manifest has.
	read  func(s *search, ctx context.Context, d digest.Digest, m manifest) error
	found int // how many signatures have it
}

// forms are those that signatures have, by the artifact types that stand for them. What is of any other is no signature.
func forms() map[string]*form {
	return map[string]*form{
		typePayloads: {tool: Cosign, read: (*search).payloads},
		typeBundle:   {tool: Cosign, read: (*search).bundle},
		typeNotation: {tool: Notation, read: (*search).envelope},
	}
}

// manifest is what of a manifest is asked.
type manifest struct {
	Layers      []v1.Descriptor   `json:"layers"`
	Annotations map[string]string `json:"annotations"`
}

// search is a call of Of.
type search struct {
	in    Repository
	image v1.Descriptor
	trust trust
	found []Signature
	most  int // that found may have after the manifest that is read

	verifier notation.Verifier // made when it is needed

	left  int                      // bytes that may still be read
	blobs map[digest.Digest][]byte // that have been: the signatures of one payload often share it
}

// look reads a manifest, and appends what it has, unless there are enough signatures of the form. Of what may not be read, or is no
// manifest, that is one which is not trusted: to leave it out could make a signed image an unsigned one.
func (s *search) look(ctx context.Context, d digest.Digest, f *form) error {
	if f.found >= maxSignatures {
		return nil
	}
	before := len(s.found)
	s.most = before + maxSignatures - f.found
	defer func() { f.found += len(s.found) - before }()
	m, ok, err := s.manifest(ctx, d)
	if err != nil {
		return err
	}
	if !ok {
		s.found = append(s.found, Signature{Tool: f.tool, Digest: d})
		return nil
	}
	if err := f.read(s, ctx, d, m); err != nil {
		return err
	}
	return ctx.Err()
}

// manifest reads one; ok false if it is not there, too large, or malformed, or if enough has been read.
func (s *search) manifest(ctx context.Context, d digest.Digest) (m manifest, ok bool, err error) {
	most := min(maxManifest, s.left)
	body, ok, err := s.in.Manifest(ctx, d, int64(most))
	if err != nil {
		return manifest{}, false, fmt.Errorf("manifest %s: %w", d, err)
	}
	if !ok || len(body) > most {
		return manifest{}, false, nil
	}
	s.left -= len(body)
	ok = json.Unmarshal(body, &m) == nil
	return m, ok, nil
}

// blob reads a blob of at most so many bytes; ok false if it is not there, or larger, or if enough has been read.
func (s *search) blob(ctx context.Context, d v1.Descriptor, most int) (body []byte, ok bool, err error) {
	if body, ok := s.blobs[d.Digest]; ok {
		return body, len(body) <= most, nil
	}
	most = min(most, s.left)
	if d.Size > int64(most) || most <= 0 {
		return nil, false, nil
	}
	body, ok, err = s.in.Blob(ctx, d, int64(most))
	if err != nil {
		return nil, false, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if !ok || len(body) > most {
		return nil, false, nil
	}
	s.left -= len(body)
	s.blobs[d.Digest] = body
	return body, true, nil
}
