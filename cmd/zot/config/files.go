package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// LoadWithFiles is Load for the node itself: it reads the files that the configuration names, too, and
// finds what speaks against them. Those who only look for the node need not be able to read its secret.
func LoadWithFiles(path string) (Config, []Note, error) {
	c, notes, err := Load(path)
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		return c, notes, err
	}
	r := &reader{problems: problems}
	checkFiles(&c.Cluster, r)
	return c, notes, r.problems.orNil()
}

func checkFiles(k *Cluster, r *reader) {
	if k.Alone {
		return
	}
	if k.SecretFile != "" {
		if _, err := ReadSecret(k.SecretFile); err != nil {
			r.problem("cluster.secretFile", secretMend, "%v", err)
		}
	}
	if k.TLS.Cert != "" && k.TLS.Key != "" && k.TLS.CA != "" {
		if _, _, err := k.TLS.Load(); err != nil {
			r.problem("cluster.tls", "give files in PEM", "%v", err)
		}
	}
}

// ReadSecret reads the lines of a file of secrets. Empty ones and the space around a line do not count.
//
// It fails if the file cannot be read, has no line, or has one that is too short.
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
