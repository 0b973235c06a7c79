package bearer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"
)

// maxKeyFile is how large the file of a key may be, in bytes.
const maxKeyFile = 1 << 20

// minRSA is the smallest modulus that signatures are believed of, in bits.
const minRSA = 1024

// key is the public key of a token service.
type key struct {
	file       []byte // it was read from
	public     crypto.PublicKey
	algorithms []jose.SignatureAlgorithm
}

// keyFile is a file with a key, which may change.
type keyFile struct {
	name string
	now  atomic.Pointer[key]
}

// reload reads the file again. If it fails, what was read before holds.
func (f *keyFile) reload() (changed bool, err error) {
	data, err := os.ReadFile(f.name) // the operator names his own file
	if err != nil {
		return false, err
	}
	before := f.now.Load()
	if before != nil && bytes.Equal(before.file, data) {
		return false, nil
	}
	k, err := parseKey(data)
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.name, err)
	}
	f.now.Store(k)
	return before != nil, nil
}

// of is the only key, whatever a token calls it.
func (f *keyFile) of(context.Context, string) (*key, error) { return f.now.Load(), nil }

func (*keyFile) close() {}

// CheckKey fails for what is no certificate or public key in PEM that tokens can be verified by.
func CheckKey(data []byte) error {
	_, err := parseKey(data)
	return err
}

// parseKey reads the first certificate or public key. The time of a certificate does not matter: it is not shown by
// anybody who would have to have it still, but chosen by the operator.
func parseKey(data []byte) (*key, error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("is larger than %d bytes", maxKeyFile)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("holds nothing in PEM")
	}
	k := &key{file: data}
	var err error
	switch block.Type {
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			k.public = c.PublicKey
		}
	case "PUBLIC KEY":
		k.public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		k.public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		err = fmt.Errorf("holds a %s, and not a certificate or public key", block.Type)
	}
	if err != nil {
		return nil, err
	}
	k.algorithms, err = algorithmsOf(k.public)
	return k, err
}

// publicAlgorithms are those that need no secret to verify.
func publicAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// algorithmsOf are those that a key of this kind can have signed with.
func algorithmsOf(public crypto.PublicKey) ([]jose.SignatureAlgorithm, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return nil, fmt.Errorf("holds an RSA key of %d bits; it needs %d, and should have 2048 or more", k.N.BitLen(), minRSA)
		}
		return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}, nil
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []jose.SignatureAlgorithm{jose.ES256}, nil
		case 384:
			return []jose.SignatureAlgorithm{jose.ES384}, nil
		case 521:
			return []jose.SignatureAlgorithm{jose.ES512}, nil
		}
		return nil, fmt.Errorf("holds a key on %s; there are P-256, P-384 and P-521", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}, nil
	}
	return nil, fmt.Errorf("holds a key of a kind that signs no tokens: %T", public)
}
