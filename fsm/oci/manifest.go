package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Errors of manifests.
var (
	// ErrManifestInvalid is returned with the reason, in words for whoever pushed the manifest.
	ErrManifestInvalid   = errors.New("invalid manifest")
	ErrManifestTooLarge  = errors.New("manifest too large")
	ErrTooManyReferences = errors.New("manifest refers to too much")
)

// The limits of a manifest (DESIGN 2): a put counts all references in one entry of the log.
const (
	MaxManifest   = 4 << 20 // bytes of the body
	MaxReferences = 4096    // distinct digests
)

// Manifest is what a manifest's body says, as far as a registry asks.
type Manifest struct {
	MediaType string        // one of the four that ParseManifest takes, in lower case, without parameters
	Digest    digest.Digest // of the body, under the algorithm asked for
	Size      int64         // of the body, in bytes

	// References is everything that must be present: configuration, layers, an index's children.
	// They are distinct by digest, in order of appearance. The subject is not among them.
	References []Ref
	// Optional is what need not be present (non-distributable layers), distinct by digest among both
	// lists. What of it is present must stay as long as the manifest does.
	Optional []Ref

	Config    *v1.Descriptor  // nil for an index
	Layers    []v1.Descriptor // as listed, with repetitions; nil for an index
	Manifests []v1.Descriptor // as listed, with repetitions; nil for an image

	Subject      *v1.Descriptor // nil without one; Docker's manifests have none
	ArtifactType string         // an image that states none has its configuration's media type
	Annotations  map[string]string
}

// Ref is one thing that a manifest refers to.
type Ref struct {
	Digest    digest.Digest
	Manifest  bool // a manifest rather than a blob
	Size      int64
	MediaType string
}

// document is the JSON of all manifests that we take. On one type rather than two, a body that is an
// image to one client and an index to another can be seen and refused.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *v1.Descriptor    `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Manifests     []v1.Descriptor   `json:"manifests"`
	Subject       *v1.Descriptor    `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// ParseManifest reads a manifest: an image manifest or index of the image specification, or Docker's
// manifest or list of schema 2. MediaType is the Content-Type it came with; empty, the body's own field
// decides. Digest is computed under alg. The body is not kept.
//
// Errors:
//   - ErrManifestTooLarge for a body over MaxManifest
//   - ErrMediaTypeUnsupported for any other media type, schema 1 among them
//   - ErrManifestInvalid, with the reason, for a body that breaks its specification
//   - ErrTooManyReferences for more than MaxReferences distinct digests
//   - ErrDigestInvalid if alg is not sha256 or sha512
func ParseManifest(mediaType string, body []byte, alg digest.Algorithm) (Manifest, error) {
	if _, err := ParseAlgorithm(string(alg)); err != nil {
		return Manifest{}, err
	}
	if len(body) > MaxManifest {
		return Manifest{}, fmt.Errorf("%w: %d bytes, at most %d", ErrManifestTooLarge, len(body), MaxManifest)
	}
	if mediaType != "" { // before the body is read: what is no manifest need not be JSON
		if _, err := manifestMediaType(mediaType, ""); err != nil {
			return Manifest{}, err
		}
	}
	doc, err := decode(body)
	if err != nil {
		return Manifest{}, err
	}
	if mediaType == "" && doc.MediaType == "" && doc.SchemaVersion == 1 {
		return Manifest{}, fmt.Errorf("%w: %s", ErrMediaTypeUnsupported, schema1Refused)
	}
	settled, err := manifestMediaType(mediaType, doc.MediaType)
	if err != nil {
		return Manifest{}, err
	}
	m := doc.manifest(settled)
	if err := doc.check(settled); err != nil {
		return Manifest{}, err
	}
	if m.References, m.Optional, err = doc.references(); err != nil {
		return Manifest{}, err
	}
	m.Digest, m.Size = alg.FromBytes(body), int64(len(body))
	return m, nil
}

// decode reads body into a document, and refuses bodies that another parser might read otherwise.
func decode(body []byte) (document, error) {
	if !utf8.Valid(body) {
		return document{}, invalid("it is not UTF-8")
	}
	// Syntax comes first and alone: it proves that the rest of this function sees one whole JSON value
	// with nothing after it, nested no deeper than encoding/json allows.
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return document{}, invalidJSON(err)
	}
	if err := checkStructure(body); err != nil {
		return document{}, err
	}
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		return document{}, invalidJSON(err)
	}
	return doc, nil
}

// check judges everything about a document but its references.
func (doc *document) check(mediaType string) error {
	if doc.SchemaVersion != 2 {
		return invalid("schemaVersion is %d, must be 2", doc.SchemaVersion)
	}
	if len(doc.ArtifactType) > maxMediaType {
		return invalid("artifactType has more than %d characters", maxMediaType)
	}
	if doc.Subject != nil && isOCI(mediaType) {
		if err := checkDescriptor("subject", doc.Subject); err != nil {
			return err
		}
	}
	// A body that is an index to one client and an image to another would let somebody show one thing
	// to a scanner and another to a node (image specification, security advisory GHSA-77vh-xpmg-72qh).
	if IsIndex(mediaType) {
		switch {
		case doc.Manifests == nil:
			return invalid("manifests is missing")
		case doc.Config != nil, doc.Layers != nil:
			return invalid("an index may not have config or layers")
		}
		return nil
	}
	switch {
	case doc.Config == nil:
		return invalid("config is missing")
	case doc.Manifests != nil:
		return invalid("an image manifest may not have manifests")
	}
	return nil
}

// manifest returns what the document says without its references.
func (doc *document) manifest(mediaType string) Manifest {
	m := Manifest{
		MediaType:    mediaType,
		Config:       doc.Config,
		Layers:       doc.Layers,
		Manifests:    doc.Manifests,
		ArtifactType: doc.ArtifactType,
		Annotations:  doc.Annotations,
	}
	if isOCI(mediaType) {
		m.Subject = doc.Subject
	}
	// Distribution specification, "Listing Referrers": an image manifest without artifactType has the
	// media type of its configuration, an index has none.
	if m.ArtifactType == "" && doc.Config != nil {
		m.ArtifactType = doc.Config.MediaType
	}
	return m
}

// invalid is ErrManifestInvalid with a reason.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrManifestInvalid, fmt.Sprintf(format, args...))
}

// invalidJSON is ErrManifestInvalid with the reason that encoding/json gives, without its Go types.
func invalidJSON(err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return invalid("not JSON: %s (at byte %d)", syntax.Error(), syntax.Offset)
	case errors.As(err, &mismatch) && mismatch.Field == "":
		return invalid("it is a JSON %s, must be an object", mismatch.Value)
	case errors.As(err, &mismatch):
		return invalid("%s may not be a JSON %s", clip(mismatch.Field), clip(mismatch.Value))
	default:
		return invalid("%s", err.Error())
	}
}
