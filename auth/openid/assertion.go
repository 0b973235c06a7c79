package openid

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// assertionType is that of RFC 7523, 2.2.
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionTime = time.Minute
	maxFile       = 64 << 10 // bytes
)

// assertionKey signs that the registry is the client that it says.
type assertionKey struct{ signer jose.Signer }

// CheckKey fails for a file that has no private key, as for a Provider's KeyFile. The error has no part of it.
func CheckKey(path string) error {
	_, err := readKey(path)
	return err
}

// readKey reads a private key: in PEM, or as providers give it out, in JSON with a key in PEM and its id.
func readKey(path string) (*assertionKey, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var kept struct{ Key, KeyID string }
	text := content
	if json.Unmarshal(content, &kept) == nil {
		text = []byte(kept.Key)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s has no private key in PEM", path)
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s has no private key that is known: make one with `openssl genpkey`", path) // err may quote some of it
	}
	algorithm, err := algorithmOf(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: kept.KeyID}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &assertionKey{signer}, nil
}

func parseKey(der []byte) (key any, err error) {
	if key, err = x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err = x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return x509.ParseECPrivateKey(der)
}

func algorithmOf(key crypto.PrivateKey) (jose.SignatureAlgorithm, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return jose.RS256, nil
	case ed25519.PrivateKey:
		return jose.EdDSA, nil
	case *ecdsa.PrivateKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return jose.ES256, nil
		case 384:
			return jose.ES384, nil
		case 521:
			return jose.ES512, nil
		}
	}
	return "", errors.New("its key is of a kind that no provider takes: RSA, P-256, P-384, P-521 and Ed25519 are")
}

// assertion is a JWT that is good once, and for a minute.
func (k *assertionKey) assertion(client, audience string) (string, error) {
	now := time.Now()
	return jwt.Signed(k.signer).Claims(jwt.Claims{
		Issuer: client, Subject: client, Audience: jwt.Audience{audience}, ID: random(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(assertionTime)),
	}).Serialize()
}

// readFile reads a file that is not large.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), maxFile)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path) //nolint:gosec // the operator says which file it is
}
