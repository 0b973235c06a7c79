package signed

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	gocose "github.com/veraison/go-cose"
)

const (
	typeNotation = "application/vnd.cncf.notary.signature"

	maxChain   = 10      // certificates
	maxSubject = 1 << 10 // bytes of a certificate's subject: it is answered as the author
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
	if !isModest(body, mediaType) {
		return "", false, nil
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

// isModest reports whether an envelope's certificates are few and small: verifying them costs, and anybody can make them.
func isModest(body []byte, mediaType string) bool {
	chain, ok := chainOf(body, mediaType)
	if !ok || len(chain) == 0 || len(chain) > maxChain {
		return false
	}
	return !slices.ContainsFunc(chain, func(der []byte) bool {
		c, err := x509.ParseCertificate(der)
		return err != nil || checkKey(c.PublicKey) != nil || len(c.RawSubject) > maxSubject
	})
}

// chainOf returns the certificates of an envelope, as notation reads them.
func chainOf(body []byte, mediaType string) (chain [][]byte, ok bool) {
	switch mediaType {
	case jws.MediaTypeEnvelope:
		var envelope struct {
			Header struct {
				Chain [][]byte `json:"x5c"`
			} `json:"header"`
		}
		return envelope.Header.Chain, json.Unmarshal(body, &envelope) == nil
	case cose.MediaTypeEnvelope:
		var envelope gocose.Sign1Message
		if envelope.UnmarshalCBOR(body) != nil {
			return nil, false
		}
		certs, _ := envelope.Headers.Unprotected[gocose.HeaderLabelX5Chain].([]any)
		for _, c := range certs {
			der, ok := c.([]byte)
			if !ok {
				return nil, false
			}
			chain = append(chain, der)
		}
		return chain, true
	}
	return nil, false
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
	signers, clocks, err := newRevocation()
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
