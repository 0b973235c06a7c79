package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// LoadWithFiles is Load for the node itself: it reads the files that the configuration names, too, and
// finds what speaks against them. Those who only look for the node need not be able to read its secret.
func LoadWithFiles(path string) (Config, []Note, error) {
	data, err := Read(path)
	if err != nil {
		return Config{}, nil, err
	}
	return ParseWithFiles(path, data)
}

// ParseWithFiles is LoadWithFiles for what was read from the file at path.
func ParseWithFiles(path string, data []byte) (Config, []Note, error) {
	c, notes, err := parseHere(path, data)
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		return c, notes, err
	}
	r := &reader{problems: problems, notes: notes}
	checkDirectories(&c, r)
	checkCertificate(c.HTTP.TLS, r, time.Now())
	if c.HTTP.Auth.Htpasswd != "" {
		r.made("http.auth.htpasswd.path", c.HTTP.Auth.Htpasswd, "make it, a line NAME:HASH for each user, by htpasswd -B or openssl passwd -6")
	}
	if c.HTTP.Auth.LDAP != nil {
		c.HTTP.Auth.LDAP.checkFiles(r)
	}
	if c.HTTP.Auth.OpenID != nil {
		c.HTTP.Auth.OpenID.checkFiles(r)
	}
	if c.HTTP.Auth.Bearer != nil {
		c.HTTP.Auth.Bearer.checkFiles(r)
	}
	checkClusterFiles(&c.Cluster, r)
	return c, r.notes, r.problems.orNil()
}

func checkDirectories(c *Config, r *reader) {
	for _, s := range c.Storage.All() {
		if info, err := os.Stat(s.RootDirectory); err == nil && !info.IsDir() {
			r.problem(s.Key("rootDirectory"), "name a directory, which need not be there yet", "%s is none", s.RootDirectory)
		}
	}
	checkLogFiles(&c.Log, r)
}

// checkCertificate looks at what clients will be shown. A certificate whose time is over is no problem: a
// node must come up with it, and takes the next one when it is there.
func checkCertificate(t ServerTLS, r *reader, now time.Time) {
	if !t.On() {
		return
	}
	content, err := t.Read()
	if r.takes(err) {
		return
	}
	cert, _, err := content.Parse()
	if r.takes(err) {
		return
	}
	switch leaf := cert.Leaf; {
	case now.After(leaf.NotAfter):
		r.note("http.tls.cert", "has expired on %s; clients will not trust it", leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		r.note("http.tls.cert", "begins on %s; clients will not trust it before", leaf.NotBefore.Format(time.RFC3339))
	}
}

// takes adds the problems that err is, and reports whether there are any.
func (r *reader) takes(err error) bool {
	problems, ok := errors.AsType[Problems](err)
	r.problems = append(r.problems, problems...)
	return ok
}

// file reads a file that a key names.
func (r *reader) file(key, name string) []byte {
	return r.made(key, name, "put it there, or name another one")
}

// made is file for one of which it is said how to come by it, if it is not there.
func (r *reader) made(key, name, how string) []byte {
	data, err := os.ReadFile(name) //nolint:gosec // the operator names his own file
	if err == nil {
		return data
	}
	mend := ""
	switch info, _ := os.Stat(name); {
	case info != nil && info.IsDir():
		mend = "name a file"
	case errors.Is(err, fs.ErrPermission):
		mend = "let the user that zot runs as read it"
	case !errors.Is(err, fs.ErrNotExist):
	case !filepath.IsAbs(name):
		mend = "a path is looked for from the working directory, not from where this file is"
	default:
		mend = how
	}
	r.problem(key, mend, "%v", err)
	return nil
}

func holdsCertificate(data []byte) bool { return x509.NewCertPool().AppendCertsFromPEM(data) }

func checkClusterFiles(k *Cluster, r *reader) {
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
