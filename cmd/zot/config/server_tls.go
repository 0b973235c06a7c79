package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
)

// ServerTLS names the certificate that clients are shown, and whose certificates they may show.
type ServerTLS struct {
	Cert, Key  string
	ClientCA   string // for certificates of clients; "" if these are not asked for
	ClientMust bool   // a client without a certificate is turned away
}

// On reports whether clients are served over TLS.
func (t ServerTLS) On() bool { return t.Cert != "" && t.Key != "" }

// Certifies reports whether clients are asked for certificates.
func (t ServerTLS) Certifies() bool { return t.On() && t.ClientCA != "" }

// Read reads the files. It fails with Problems if one cannot be read.
func (t ServerTLS) Read() (ServerPEM, error) {
	var p ServerPEM
	r := &reader{}
	p.cert = r.file("http.tls.cert", t.Cert)
	p.key = r.file("http.tls.key", t.Key)
	if t.ClientCA != "" {
		p.ca = r.file("http.tls.cacert", t.ClientCA)
	}
	return p, r.problems.orNil()
}

// ServerPEM is what the files of a ServerTLS hold.
type ServerPEM struct{ cert, key, ca []byte }

// Equal reports whether nothing has changed between two readings.
func (p ServerPEM) Equal(q ServerPEM) bool {
	return bytes.Equal(p.cert, q.cert) && bytes.Equal(p.key, q.key) && bytes.Equal(p.ca, q.ca)
}

// Parse returns the certificate with its key, and the CAs of clients, nil if there is no such file.
//
// It fails with Problems if a file holds something else, or certificate and key do not belong together.
func (p ServerPEM) Parse() (*tls.Certificate, *x509.CertPool, error) {
	r := &reader{}
	cert, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		r.problem("http.tls", "give a certificate and its key in PEM, the certificate first if the file has a chain", "cert and key: %v", err)
	}
	var pool *x509.CertPool
	if p.ca != nil {
		if pool = x509.NewCertPool(); !pool.AppendCertsFromPEM(p.ca) {
			r.problem("http.tls.cacert", "give certificates in PEM", "holds no certificate")
		}
	}
	return &cert, pool, r.problems.orNil()
}
