package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// certificatePoll is how often a changed certificate is looked for. Mounted ones change without a signal.
const certificatePoll = time.Minute

// certificates are what clients are shown over TLS, and what theirs must be signed by. New ones hold from
// the next handshake on; connections that are open stay as they are.
type certificates struct {
	current atomic.Pointer[tls.Config]
	asked   chan struct{}

	mu    sync.Mutex
	files config.ServerTLS
	used  config.ServerPEM // what current was made of
}

// openCertificates fails if the files cannot be used.
func openCertificates(files config.ServerTLS) (*certificates, error) {
	c := &certificates{asked: make(chan struct{}, 1)}
	d, err := c.prepare(files)
	if err != nil {
		return nil, err
	}
	d.take()
	return c, nil
}

// prepare makes other files ready. It fails if they cannot be used.
func (c *certificates) prepare(files config.ServerTLS) (draft, error) {
	content, err := files.Read()
	if err != nil {
		return draft{}, err
	}
	cert, clients, err := content.Parse()
	if err != nil {
		return draft{}, err
	}
	next := handshake(cert, clients)
	return swap(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.files, c.used = files, content
		c.current.Store(next)
	}), nil
}

// renew takes what the files hold now, and reports whether that is something else. What cannot be used
// changes nothing.
func (c *certificates) renew() (changed bool, err error) {
	c.mu.Lock()
	files, used := c.files, c.used
	c.mu.Unlock()
	content, err := files.Read()
	if err != nil || content.Equal(used) {
		return false, err
	}
	cert, clients, err := content.Parse()
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files != files { // the configuration names others now
		return false, nil
	}
	c.used = content
	c.current.Store(handshake(cert, clients))
	return true, nil
}

// handshake is the configuration of handshakes with one certificate. What a client shows has to be good; that it shows
// something is asked of it with its requests (auth.Gate.Certified), all but those for its health.
func handshake(cert *tls.Certificate, clients *x509.CertPool) *tls.Config {
	t := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{*cert},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if clients != nil {
		t.ClientCAs, t.ClientAuth = clients, tls.VerifyClientCertIfGiven
	}
	return t
}

// server is the configuration of a server whose handshakes each take the current certificates.
func (c *certificates) server() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
}

// watch renews the certificates until ctx ends; at once when asked. Each reason for which new files cannot
// be used is said once: certificate and key are often written one after the other, and the next look finds
// both.
func (c *certificates) watch(ctx context.Context, log hclog.Logger) {
	poll := time.NewTicker(certificatePoll)
	defer poll.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.asked:
			said = "" // whoever asks wants to hear
		case <-poll.C:
		}
		changed, err := c.renew()
		switch {
		case err == nil:
			said = ""
		case said != err.Error():
			said = err.Error()
			log.Warn("certificate is unusable, the old one stays", "error", err)
		}
		if changed {
			leaf := c.current.Load().Certificates[0].Leaf
			log.Info("certificate changed", "subject", leaf.Subject.String(), "not_after", leaf.NotAfter)
		}
	}
}
