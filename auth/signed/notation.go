package signed

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/notaryproject/tspclient-go"
	"github.com/opencontainers/go-digest"
	gocose "github.com/veraison/go-cose"
)

const (
	typeNotation = "application/vnd.cncf.notary.signature"

	maxChain     = 10       // certificates
	maxSubject   = 1 << 10  // bytes of a certificate's subject: it is answered as the author
	maxTimestamp = 64 << 10 // bytes; they have about 6 KiB
)

// envelope reads a signature of notation: the one layer.
func (s *search) envelope(ctx context.Context, d digest.Digest, m manifest) error {
	one := Signature{Tool: Notation, Digest: d}
	if len(m.Layers) == 1 {
		body, ok, err := s.blob(ctx, m.Layers[0], maxEnvelope)
		if err != nil {
			return err
		}
		if ok {
			one.Author, one.Trusted, err = s.verify(ctx, body, m.Layers[0].MediaType)
			if err != nil {
				return err
			}
		}
	}
	s.found = append(s.found, one)
	return nil
}

// verify returns the subject of an envelope's signer, and whether they are trusted and have signed the image.
func (s *search) verify(ctx context.Context, body []byte, mediaType string) (author string, trusted bool, err error) {
	e, ok := parseEnvelope(body, mediaType)
	if !ok || !e.isModest() {
		return "", false, nil
	}
	// What is genuine but of another image is not worth asking others: anybody could have them asked about many certificates until
	// there is no time left for those of this image.
	if !e.names(s.image.Digest) {
		return e.chain[0].Subject.String(), false, nil
	}
	if s.verifier == nil {
		if s.verifier, err = newVerifier(s.trust); err != nil {
			return "", false, err
		}
	}
	outcome, failed := s.verifier.Verify(ctx, s.image, body, notation.VerifierVerifyOptions{
		ArtifactReference:  "registry.invalid/image@" + s.image.Digest.String(), // the policy is for all
		SignatureMediaType: mediaType,
	})
	if outcome == nil || outcome.EnvelopeContent == nil { // nobody has signed what is there
		return "", false, nil
	}
	signer := outcome.EnvelopeContent.SignerInfo
	// What must be understood is not, whatever it is: notation leaves that to plugins, and there are none.
	for _, a := range signer.SignedAttributes.ExtendedAttributes {
		if a.Critical {
			failed = errors.Join(failed, errors.New("an attribute that must be understood"))
		}
	}
	return signer.CertificateChain[0].Subject.String(), failed == nil, nil
}

// unverified is what an envelope has, as notation reads it. Only the payload is signed.
type unverified struct {
	payload   []byte
	chain     []*x509.Certificate
	timestamp []byte // a token of who says when it was signed; often none
}

// parseEnvelope reads an envelope; ok false if it has no certificates that can be read.
func parseEnvelope(body []byte, mediaType string) (e unverified, ok bool) {
	var chain [][]byte
	switch mediaType {
	case jws.MediaTypeEnvelope:
		var text struct {
			Payload string `json:"payload"`
			Header  struct {
				Chain     [][]byte `json:"x5c"`
				Timestamp []byte   `json:"io.cncf.notary.timestampSignature"`
			} `json:"header"`
		}
		if json.Unmarshal(body, &text) != nil {
			return unverified{}, false
		}
		chain, e.timestamp = text.Header.Chain, text.Header.Timestamp
		var err error
		if e.payload, err = base64.RawURLEncoding.DecodeString(text.Payload); err != nil {
			return unverified{}, false
		}
	case cose.MediaTypeEnvelope:
		var message gocose.Sign1Message
		if message.UnmarshalCBOR(body) != nil {
			return unverified{}, false
		}
		e.payload = message.Payload
		e.timestamp, _ = message.Headers.Unprotected["io.cncf.notary.timestampSignature"].([]byte)
		certs, _ := message.Headers.Unprotected[gocose.HeaderLabelX5Chain].([]any)
		for _, c := range certs {
			der, ok := c.([]byte)
			if !ok {
				return unverified{}, false
			}
			chain = append(chain, der)
		}
	}
	if len(chain) == 0 {
		return unverified{}, false
	}
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return unverified{}, false
		}
		e.chain = append(e.chain, c)
	}
	return e, true
}

// names reports whether an envelope is about an image.
func (e unverified) names(image digest.Digest) bool {
	var payload struct {
		Artifact struct {
			Digest digest.Digest `json:"digest"`
		} `json:"targetArtifact"`
	}
	return json.Unmarshal(e.payload, &payload) == nil && payload.Artifact.Digest == image
}

// isModest reports whether an envelope's certificates are few and small, and those of its time stamp: verifying them costs, and anybody
// can make them.
func (e unverified) isModest() bool {
	if !areModest(e.chain) {
		return false
	}
	if len(e.timestamp) == 0 {
		return true
	}
	if len(e.timestamp) > maxTimestamp {
		return false
	}
	token, err := tspclient.ParseSignedToken(e.timestamp)
	// RFC 3161 has one signer: notation would try the certificates for each there is.
	return err == nil && len(token.SignerInfos) == 1 && areModest(token.Certificates)
}

func areModest(chain []*x509.Certificate) bool {
	return len(chain) <= maxChain && !slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
		return checkKey(c.PublicKey) != nil || len(c.RawSubject) > maxSubject
	})
}

// newVerifier makes what verifies envelopes, by zot's policy: everything counts, and who signs is anybody whom one of the certificates
// trusts. Without a manager of plugins there are none.
func newVerifier(t trust) (notation.Verifier, error) {
	policy := &trustpolicy.Document{
		Version: "1.0",
		TrustPolicies: []trustpolicy.TrustPolicy{{
			Name:           "all",
			RegistryScopes: []string{"*"},
			SignatureVerification: trustpolicy.SignatureVerification{
				VerificationLevel: trustpolicy.LevelStrict.Name,
				VerifyTimestamp:   trustpolicy.OptionAfterCertExpiry,
			},
			TrustedIdentities: []string{"*"},
		}},
	}
	for _, kind := range truststore.Types {
		policy.TrustPolicies[0].TrustStores = append(policy.TrustPolicies[0].TrustStores, string(kind)+":all")
	}
	signers, clocks, err := newRevocation(t.certificates)
	if err != nil {
		return nil, err
	}
	return verifier.NewWithOptions(policy, stores(t.certificates), nil, verifier.VerifierOptions{
		RevocationCodeSigningValidator:  signers,
		RevocationTimestampingValidator: clocks,
	})
}

// stores are the certificates of each kind of trust store.
type stores map[truststore.Type][]*x509.Certificate

// GetCertificates is truststore.X509TrustStore's.
func (s stores) GetCertificates(_ context.Context, kind truststore.Type, _ string) ([]*x509.Certificate, error) {
	return s[kind], nil
}
