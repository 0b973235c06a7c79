package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// CheckFiles reads what the configuration names, and finds what speaks against it. It is for the node
// itself: those who only look for its socket need not be able to read its secret.
//
// Its error is a Problems.
func (c *Config) CheckFiles() error {
	r := &reader{}
	if c.Cluster.Alone {
		return nil
	}
	if c.Cluster.SecretFile != "" {
		if _, err := c.Cluster.Secret(); err != nil {
			r.problem("cluster.secretFile", secretMend, "%v", err)
		}
	}
	if c.Cluster.TLS.Cert != "" {
		if _, _, err := c.Cluster.TLS.Load(); err != nil {
			r.problem("cluster.tls", "give files in PEM", "%v", err)
		}
	}
	return r.problems.orNil()
}

// Secret reads the lines of the secretFile. Empty ones and the space around a line do not count.
//
// It fails if the file cannot be read, has no line, or has one that is too short.
func (c *Cluster) Secret() ([][]byte, error) { return ReadSecret(c.SecretFile) }

// ReadSecret reads the lines of a file of secrets; it is Secret for any file.
func ReadSecret(name string) ([][]byte, error) {
	data, err := os.ReadFile(name) //nolint:gosec // the operator names his own file
	if err != nil {
		return nil, err
	}
	var lines [][]byte
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0:
		case len(line) < minSecret:
			return nil, fmt.Errorf("%s: line %d has %d characters, at least %d are needed", name, i+1, len(line), minSecret)
		default:
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s: has no line", name)
	}
	return lines, nil
}

// Load reads the certificates. It fails if a file cannot be read or is not what it should be.
func (t *TLS) Load() (*tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate and key: %w", err)
	}
	data, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("read the CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, nil, fmt.Errorf("%s holds no certificate", t.CA)
	}
	return &cert, pool, nil
}
