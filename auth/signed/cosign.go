package signed

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	typePayloads = "application/vnd.dev.cosign.artifact.sig.v1+json" // of a manifest of payloads that has a subject
	typePayload  = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeBundle   = "application/vnd.dev.sigstore.bundle.v0.3+json"

	annotationSignature = "dev.cosignproject.cosign/signature"
	annotationPredicate = "dev.sigstore.bundle.predicateType"

	payloadType   = "cosign container image signature"
	statementType = "application/vnd.in-toto+json"
	predicateType = "https://sigstore.dev/cosign/sign/v1" // "I sign this image"; others attest something of it

	maxPayload  = 64 << 10 // bytes of what is signed
	maxEnvelope = 1 << 20  // bytes of what has it and its signature
)

// tagOf returns the tag under which cosign's older form has the signatures of an image.
func tagOf(image digest.Digest) string {
	return fmt.Sprintf("%s-%s.sig", image.Algorithm(), image.Encoded())
}

// payloads reads cosign's older form: each layer is a signature, of what the layer has.
func (s *search) payloads(ctx context.Context, d digest.Digest, m manifest) error {
	for _, layer := range m.Layers {
		if layer.MediaType != typePayload {
			continue
		}
		if len(s.found) >= s.most {
			return nil
		}
		author, err := s.payload(ctx, layer)
		if err != nil {
			return err
		}
		s.found = append(s.found, Signature{Tool: Cosign, Digest: d, Trusted: author != "", Author: author})
	}
	return nil
}

// payload returns whose key has signed a layer that is about the image; "" if nobody's.
func (s *search) payload(ctx context.Context, layer v1.Descriptor) (author string, err error) {
	signature, malformed := base64.StdEncoding.DecodeString(layer.Annotations[annotationSignature])
	if malformed != nil || len(signature) == 0 {
		return "", nil //nolint:nilerr // it is no signature
	}
	body, ok, err := s.blob(ctx, layer, maxPayload)
	if err != nil || !ok || !isPayload(body, s.image.Digest) {
		return "", err
	}
	return s.trust.author(newMessage(body), signature), nil
}

// isPayload reports whether whoever signs this signs an image.
func isPayload(body []byte, image digest.Digest) bool {
	var p struct {
		Critical struct {
			Image struct {
				Digest digest.Digest `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
	}
	return json.Unmarshal(body, &p) == nil && p.Critical.Type == payloadType && p.Critical.Image.Digest == image
}

// bundle reads cosign's newer form: the one layer has a statement and its signature.
func (s *search) bundle(ctx context.Context, d digest.Digest, m manifest) error {
	// Who writes something else here hides a signature of their own, and nobody else's; and attestations may be large.
	if is, ok := m.Annotations[annotationPredicate]; ok && is != predicateType {
		return nil
	}
	one := Signature{Tool: Cosign, Digest: d}
	if len(m.Layers) == 1 && m.Layers[0].MediaType == typeBundle {
		body, ok, err := s.blob(ctx, m.Layers[0], maxEnvelope)
		if err != nil {
			return err
		}
		if e, well := parseBundle(body); ok && well {
			if e.statement.Predicate != "" && e.statement.Predicate != predicateType {
				return nil
			}
			if e.statement.signs(s.image.Digest) && len(e.payload) <= maxPayload {
				one.Author = s.trust.author(newMessage(e.signed()), e.signature)
				one.Trusted = one.Author != ""
			}
		}
	}
	s.found = append(s.found, one)
	return nil
}

// bundled is what a bundle has.
type bundled struct {
	payload   []byte
	statement statement
	signature []byte
}

// statement is in-toto's, about some subjects.
type statement struct {
	Type      string `json:"_type"`
	Predicate string `json:"predicateType"`
	Subjects  []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// parseBundle reads a bundle with a statement; ok false for anything else, bundles of other content among them: no tool signs
// images by these.
func parseBundle(body []byte) (b bundled, ok bool) {
	var text struct {
		Envelope struct {
			Payload    []byte `json:"payload"`
			Type       string `json:"payloadType"`
			Signatures []struct {
				Signature []byte `json:"sig"`
			} `json:"signatures"`
		} `json:"dsseEnvelope"`
	}
	// Of an envelope in a bundle there is one signature, though others may have more.
	if json.Unmarshal(body, &text) != nil || text.Envelope.Type != statementType || len(text.Envelope.Signatures) != 1 {
		return bundled{}, false
	}
	b = bundled{payload: text.Envelope.Payload, signature: text.Envelope.Signatures[0].Signature}
	if json.Unmarshal(b.payload, &b.statement) != nil {
		return bundled{}, false
	}
	return b, true
}

// signed returns what the signature is of: DSSE's pre-authentication encoding, so that it is of nothing else.
func (b bundled) signed() []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(statementType), statementType, len(b.payload), b.payload)
}

// signs reports whether whoever signs the statement signs an image.
func (s statement) signs(image digest.Digest) bool {
	types := []string{"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"}
	if s.Predicate != predicateType || !slices.Contains(types, s.Type) {
		return false
	}
	for _, subject := range s.Subjects {
		if hex, ok := subject.Digest[image.Algorithm().String()]; ok && hex == image.Encoded() {
			return true
		}
	}
	return false
}
