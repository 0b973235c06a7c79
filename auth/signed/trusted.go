package signed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go/verifier/truststore"
)

const (
	maxContent = 64 << 10 // bytes of what an administrator gives
	minRSA     = 2048     // bits
	maxRSA     = 8192     // bits: what verifying by a key costs grows with the square
)

// Trusted is a public key (cosign), or certificates (notation), that an administrator has given.
type Trusted struct {
	Tool    Tool
	Store   string // of notation, the kind of trust store: one of Stores
	Content []byte // PEM; certificates also DER
}

// Stores returns the kinds of trust stores that notation has: "ca" for who issues the certificates of signers, "signingAuthority" for who
// issues those of services that sign for others, "tsa" for the roots of who says when something was signed.
func Stores() []string {
	var all []string
	for _, kind := range truststore.Types {
		all = append(all, string(kind))
	}
	return all
}

// Check fails for what nobody could be trusted by; the message says what to do. No private key is in it.
func (t Trusted) Check() error {
	switch t.Tool {
	case Cosign:
		_, err := parseKey(t.Content)
		return err
	case Notation:
		_, err := parseCertificates(t.Store, t.Content)
		return err
	}
	return fmt.Errorf("there is no such tool to sign with: use %s or %s", Cosign, Notation)
}

// trust is what signatures are verified by.
type trust struct {
	keys         []key
	work         int // that verifying by them has been, up to maxWork
	certificates map[truststore.Type][]*x509.Certificate
}

// newTrust leaves out what Check refuses: one bad certificate would make notation refuse them all.
func newTrust(trusted []Trusted) trust {
	t := trust{certificates: map[truststore.Type][]*x509.Certificate{}}
	for _, one := range trusted {
		switch one.Tool {
		case Cosign:
			if k, err := parseKey(one.Content); err == nil {
				t.keys = append(t.keys, k)
			}
		case Notation:
			if certs, err := parseCertificates(one.Store, one.Content); err == nil {
				kind := truststore.Type(one.Store)
				t.certificates[kind] = append(t.certificates[kind], certs...)
			}
		}
	}
	return t
}

// checkContent fails for what is neither a key nor a certificate, however it is read.
func checkContent(content []byte) error {
	switch {
	case len(bytes.TrimSpace(content)) == 0:
		return errors.New("it is empty")
	case len(content) > maxContent:
		return fmt.Errorf("it has %d bytes, more than %d", len(content), maxContent)
	case bytes.Contains(content, []byte("PRIVATE KEY")), bytes.Contains(content, []byte("Private-Key:")), isPrivate(content): // openssl -text has the latter
		return errors.New("it has a private key: give the public key or the certificate alone, and sign with another key from now on if others may have seen this one")
	}
	return nil
}

// isPrivate reports whether it is a private key in DER.
func isPrivate(der []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return true
	}
	if _, err := x509.ParseECPrivateKey(der); err == nil {
		return true
	}
	_, err := x509.ParsePKCS1PrivateKey(der)
	return err == nil
}

const wantKey = "give the public key in PEM, as cosign generate-key-pair writes it to cosign.pub"

// parseKey reads a public key of cosign.
func parseKey(content []byte) (key, error) {
	if err := checkContent(content); err != nil {
		return key{}, err
	}
	blocks, err := readPEM(content)
	switch {
	case err != nil:
		return key{}, err
	case len(blocks) == 0:
		return key{}, errors.New("it is not PEM: " + wantKey)
	case len(blocks) > 1:
		return key{}, errors.New("there is more after the key: give one public key at a time")
	}
	var public any
	switch block := blocks[0]; block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		return key{}, errors.New("it is a certificate: give it as notation's, or the public key that is in it (openssl x509 -pubkey -noout)")
	default:
		return key{}, errors.New("it is no public key: " + wantKey)
	}
	if err != nil {
		return key{}, errors.New("the public key cannot be read: " + wantKey)
	}
	if err := checkKey(public); err != nil {
		return key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return key{}, err
	}
	return key{public: public, text: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}, nil
}

// checkKey fails for a public key that cosign does not sign by, or that is too weak or too large.
func checkKey(public any) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, k.Curve) {
			return errors.New("it is on another curve than P-256, P-384 and P-521")
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("it is an RSA key of %d bits: use one of %d to %d", bits, minRSA, maxRSA)
		}
	case ed25519.PublicKey:
	default:
		return errors.New("it is of a kind that nothing is signed by: use ECDSA, RSA or Ed25519")
	}
	return nil
}

const wantCertificates = "give certificates in PEM, or in DER"

// parseCertificates reads certificates of notation for one kind of trust store.
func parseCertificates(store string, content []byte) ([]*x509.Certificate, error) {
	if !slices.Contains(Stores(), store) {
		return nil, fmt.Errorf("there is no such kind of trust store: use one of %s", strings.Join(Stores(), ", "))
	}
	if err := checkContent(content); err != nil {
		return nil, err
	}
	certs, err := readCertificates(content)
	if err != nil {
		return nil, err
	}
	for _, c := range certs {
		if err := checkKey(c.PublicKey); err != nil {
			return nil, fmt.Errorf("the key of the certificate of %q: %w", c.Subject, err)
		}
		if store == string(truststore.TypeTSA) && !isRoot(c) {
			return nil, fmt.Errorf("the certificate of %q is not that of a root, which has issued it itself: of who says when something was signed, give the root", c.Subject)
		}
	}
	if err := truststore.ValidateCertificates(certs); err != nil {
		return nil, fmt.Errorf("%w: give the certificate of who has issued it", err)
	}
	return certs, nil
}

// readCertificates reads PEM with nothing else in it, or DER.
func readCertificates(content []byte) ([]*x509.Certificate, error) {
	blocks, err := readPEM(content)
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		certs, err := x509.ParseCertificates(content)
		if err != nil || len(certs) == 0 {
			return nil, errors.New("there is no certificate that can be read: " + wantCertificates)
		}
		return certs, nil
	}
	var certs []*x509.Certificate
	for i, block := range blocks {
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("there is something else than certificates in it: " + wantCertificates)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %s", i+1, wantCertificates)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// readPEM returns the blocks of PEM, none if there are none. It fails if anything else is in the content, or in their headers, but white space:
// pem.Decode would pass over it, and it would be kept and shown. Tools write a private key there that is asked for as text.
func readPEM(content []byte) (blocks []*pem.Block, err error) {
	var alone []byte
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
		alone = append(alone, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
	}
	if len(blocks) > 0 && !bytes.Equal(squeeze(content), squeeze(alone)) {
		return nil, errors.New("there is something else in it, or a block is cut off: give the blocks alone, each from -----BEGIN to -----END and without headers")
	}
	return blocks, nil
}

// squeeze returns a text without its white space.
func squeeze(text []byte) []byte { return bytes.Join(bytes.Fields(text), nil) }

// isRoot reports whether a certificate is that of a root.
func isRoot(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil
}
