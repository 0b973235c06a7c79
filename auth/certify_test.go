package auth_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed-16d79997/zot/auth"
)

// Where nothing but a certificate says who somebody is, who has shown none is nobody who is let in.
func TestMustCertify(t *testing.T) {
	t.Parallel()
	without := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry.example/v2/", http.NoBody)
	without.TLS = &tls.ConnectionState{}
	with := without.Clone(t.Context())
	with.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "alice"}}}}}
	plain := without.Clone(t.Context())
	plain.TLS = nil
	byName := &auth.Certificates{Attributes: []auth.Attribute{auth.CommonName}}
	must, may := auth.New(auth.Config{Certificates: byName, MustCertify: true}), auth.New(auth.Config{Certificates: byName})
	for _, r := range []*http.Request{without, plain} {
		if c, err := must.Identify(r); !errors.Is(err, auth.ErrCredentials) || !errors.Is(err, auth.ErrCertificate) {
			t.Errorf("%q is let in: %v", c.Name(), err)
		}
		if err := must.Certified(r); !errors.Is(err, auth.ErrCertificate) {
			t.Errorf("who has none: %v", err)
		}
		if err := errors.Join(may.Certified(r), (*auth.Gate)(nil).Certified(r)); err != nil {
			t.Errorf("who need not have a certificate: %v", err)
		}
		if _, err := may.Identify(r); err != nil {
			t.Errorf("who need not have a certificate: %v", err)
		}
	}
	for _, g := range []*auth.Gate{must, may} {
		if err := g.Certified(with); err != nil {
			t.Errorf("who has one: %v", err)
		}
		if c, err := g.Identify(with); err != nil || c.Name() != "alice" {
			t.Errorf("%q, %v", c.Name(), err)
		}
	}
}
