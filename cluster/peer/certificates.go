package peer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// ownCertificates are the operator's, in place of derived ones.
type ownCertificates struct {
	certificate *tls.Certificate
	pool        *x509.CertPool
}

// trust is what one set of secret lines makes: whom this node believes, and how it proves itself. It is replaced as
// a whole at a rotation and never changed.
type trust struct {
	secrets     []secret
	certificate *tls.Certificate
	pool        *x509.CertPool
	reason      Reason // what a certificate that does not verify means
	host        *host  // for machines that have nothing but a token
}

func newTrust(secrets []secret, node string, own *ownCertificates) (*trust, error) {
	host, err := newHost(secrets[0], node)
	if err != nil {
		return nil, err
	}
	if own != nil {
		return &trust{secrets: secrets, certificate: own.certificate, pool: own.pool, reason: Certificate, host: host}, nil
	}
	t := &trust{secrets: secrets, pool: x509.NewCertPool(), reason: Secret, host: host}
	for i, s := range secrets {
		authority, key, err := s.authority()
		if err != nil {
			return nil, err
		}
		t.pool.AddCert(authority)
		if i > 0 {
			continue
		}
		if t.certificate, err = issue(node, authority, key); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Certificates are valid from the epoch until what RFC 5280 (4.1.2.5) calls no expiry, so that a node whose clock is wrong, or
// that ran for years, can still talk. What ends their validity is the removal of the line that they come from.
func validity() (notBefore, notAfter time.Time) {
	return time.Unix(0, 0).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
}

// authority is the CA that the line stands for. Nothing in it is random (an Ed25519 signature is not either), so
// every node computes the same certificate. Its name has the key in it, so that the CAs of several lines are told apart.
func (s secret) authority() (*x509.Certificate, ed25519.PrivateKey, error) {
	key := ed25519.NewKeyFromSeed(s.derive(labelCA, ed25519.SeedSize))
	public := key.Public()
	sum := sha256.Sum256(public.(ed25519.PublicKey))
	notBefore, notAfter := validity()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: fmt.Sprintf("zot cluster %x", sum[:8])},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the cluster's CA: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("read the cluster's CA: %w", err)
	}
	return certificate, key, nil
}

// issue makes a certificate for the node, with a key that exists only in memory.
func issue(node string, authority *x509.Certificate, key ed25519.PrivateKey) (*tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make this node's key: %w", err)
	}
	notBefore, notAfter := validity()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: node},
		NotBefore:   notBefore,
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, public, key)
	if err != nil {
		return nil, fmt.Errorf("make this node's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// verify is the one check of the other side's certificate, the same for both roles. It does not look at names: nodes
// are found under host names, addresses and forwarded ports, and the hello says who answers.
func (t *trust) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return &certificateError{reason: t.reason, text: "it sent none"}
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots:         t.pool,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // every node is client and server
	})
	if err != nil {
		return &certificateError{reason: t.reason, text: err.Error()}
	}
	return nil
}

func (p *Peer) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			trust := p.trust.Load()
			if p.joins(hello) {
				return trust.host.tls(), nil
			}
			return &tls.Config{
				MinVersion:             tls.VersionTLS13,
				Certificates:           []tls.Certificate{*trust.certificate},
				ClientAuth:             tls.RequireAnyClientCert, // and VerifyConnection verifies it
				VerifyConnection:       trust.verify,
				NextProtos:             p.protocols(),
				SessionTicketsDisabled: true, // a ticket would outlive the line that it was given under
			}, nil
		},
	}
}

func (p *Peer) clientTLS(protocol string) *tls.Config {
	trust := p.trust.Load()
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies the chain; host names say nothing here
		VerifyConnection:   trust.verify,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return trust.certificate, nil
		},
		NextProtos: []string{protocol},
	}
}
