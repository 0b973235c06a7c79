package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// Pair is the files of a certificate and of its key.
type Pair struct{ Cert, Key string }

// Authority signs certificates.
type Authority struct {
	File string // its own certificate

	own *x509.Certificate
	key *ecdsa.PrivateKey
}

// NewAuthority makes one that nobody trusts yet, with a name of its own.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{}
	var p Pair
	p, a.own, a.key = certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: "authority " + rand.Text()}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	a.File = p.Cert
	return a
}

// Server makes a certificate for 127.0.0.1, and for where Engine.Certified reaches it.
func (a *Authority) Server(t testing.TB) Pair {
	t.Helper()
	p, _, _ := certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(elsewhere)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a)
	return p
}

// Client makes a certificate for a client that has a name.
func (a *Authority) Client(t testing.TB, name string) Pair {
	t.Helper()
	p, _, _ := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a)
	return p
}

// Trusting speaks to servers that have a certificate of the authority, and shows one of its own; Pair{} shows none.
func (a *Authority) Trusting(t testing.TB, shows Pair) *http.Client {
	t.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(a.own)
	if shows != (Pair{}) {
		pair, err := tls.LoadX509KeyPair(shows.Cert, shows.Key)
		if err != nil {
			t.Fatal(err)
		}
		// Also to a server that has asked for others' alone.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: c}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Certificate makes files of a certificate for an address, which has signed itself, and of its key.
func Certificate(t testing.TB, address string) (cert, key string) {
	t.Helper()
	p, _, _ := certificate(t, &x509.Certificate{Subject: pkix.Name{CommonName: address}, IPAddresses: []net.IP{net.ParseIP(address)}, IsCA: true}, nil)
	return p.Cert, p.Key
}

// certificate makes one that an authority has signed, or itself if there is none.
func certificate(t testing.TB, template *x509.Certificate, by *Authority) (Pair, *x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.BasicConstraintsValid = serial, true
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if by == nil {
		by = &Authority{own: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.own, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	encode := func(file, kind string, bytes []byte) string {
		return write(t, filepath.Join(dir, file), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})))
	}
	return Pair{encode("certificate.pem", "CERTIFICATE", der), encode("key.pem", "PRIVATE KEY", secret)}, made, key
}
