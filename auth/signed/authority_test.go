package signed_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/auth/signed"
)

// holder has a certificate, its key, and the certificates of who has issued it.
type holder struct {
	certificate *x509.Certificate
	key         crypto.Signer
	chain       []*x509.Certificate // leaf first
}

// hold makes a certificate, as changed, by an issuer or itself.
func hold(t testing.TB, name string, issuer *holder, key crypto.Signer, change func(*x509.Certificate)) *holder {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	change(template)
	parent, by := template, key
	if issuer != nil {
		parent, by = issuer.certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{certificate: must(x509.ParseCertificate(der)), key: key}
	h.chain = []*x509.Certificate{h.certificate}
	if issuer != nil {
		h.chain = append(h.chain, issuer.chain...)
	}
	return h
}

func newKey() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func asAuthority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
}

func asLeaf(c *x509.Certificate) {
	c.BasicConstraintsValid = true
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
}

func newAuthority(t testing.TB, name string) *holder {
	t.Helper()
	return hold(t, name, nil, newKey(), asAuthority)
}

func newLeaf(t testing.TB, name string) *holder {
	t.Helper()
	return hold(t, name, nil, newKey(), asLeaf)
}

func (h *holder) below(t testing.TB, name string) *holder {
	t.Helper()
	return hold(t, name, h, newKey(), asAuthority)
}

func (h *holder) issue(t testing.TB, name string, change func(*x509.Certificate)) *holder {
	t.Helper()
	return hold(t, name, h, newKey(), func(c *x509.Certificate) {
		asLeaf(c)
		if change != nil {
			change(c)
		}
	})
}

func (h *holder) pem() []byte { return block("CERTIFICATE", h.certificate.Raw) }

// trusted returns that a certificate is, in a store.
func (h *holder) trusted(store string) signed.Trusted {
	return signed.Trusted{Tool: signed.Notation, Store: store, Content: h.pem()}
}

// sign makes an envelope for an image, as changed.
func (h *holder) sign(t testing.TB, mediaType string, image v1.Descriptor, change func(*signature.SignRequest)) []byte {
	t.Helper()
	request := &signature.SignRequest{
		Payload: signature.Payload{
			ContentType: "application/vnd.cncf.notary.payload.v1+json",
			Content:     must(json.Marshal(map[string]v1.Descriptor{"targetArtifact": image})),
		},
		Signer:        must(signature.NewLocalSigner(h.chain, h.key)),
		SigningTime:   time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		SigningScheme: signature.SigningSchemeX509,
	}
	if change != nil {
		change(request)
	}
	body, err := must(signature.NewEnvelope(mediaType)).Sign(request)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// attachEnvelope puts an envelope beside an image.
func (r *repository) attachEnvelope(image v1.Descriptor, mediaType string, body []byte) {
	r.attach(v1.Manifest{ArtifactType: "application/vnd.cncf.notary.signature", Layers: []v1.Descriptor{r.blob(mediaType, body)}}, image)
}

// weak returns a key of 1024 bits.
func weak() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) }
