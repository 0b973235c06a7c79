package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/auth"
)

// authority signs certificates of clients.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(name string) authority {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return authority{must(x509.ParseCertificate(der)), key}
}

// signs makes a client's certificate, sent with that of the authority.
func (a authority) signs(leaf x509.Certificate) *tls.Certificate {
	leaf.SerialNumber, leaf.NotBefore, leaf.NotAfter = big.NewInt(2), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, &leaf, a.certificate, key.Public(), a.key))
	return &tls.Certificate{Certificate: [][]byte{der, a.certificate.Raw}, PrivateKey: key}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	trusted := newAuthority("the authority")
	uri := func(texts ...string) (all []*url.URL) {
		for _, text := range texts {
			all = append(all, must(url.Parse(text)))
		}
		return all
	}
	full := x509.Certificate{
		Subject: pkix.Name{CommonName: "alice", Organization: []string{"example"}}, EmailAddresses: []string{"a@x", "b@x"}, DNSNames: []string{"one.x", "two.x"},
		URIs: uri("https://x/alice", "spiffe://x/workload/build"),
	}
	nameless := x509.Certificate{Subject: pkix.Name{Organization: []string{"example"}}}
	all := func(a ...auth.Attribute) []auth.Attribute { return a }
	workload := regexp.MustCompile("^spiffe://x/workload/(.*)$")
	for name, test := range map[string]struct {
		what auth.Certificates
		leaf x509.Certificate
		want string
	}{
		"common name":               {auth.Certificates{Attributes: all(auth.CommonName)}, full, "alice"},
		"subject":                   {auth.Certificates{Attributes: all(auth.Subject)}, full, "CN=alice,O=example"},
		"email":                     {auth.Certificates{Attributes: all(auth.Email)}, full, "a@x"},
		"the second email":          {auth.Certificates{Attributes: all(auth.Email), EmailIndex: 1}, full, "b@x"},
		"no such email, then DNS":   {auth.Certificates{Attributes: all(auth.Email, auth.DNSName), EmailIndex: 2, DNSIndex: 1}, full, "two.x"},
		"URI":                       {auth.Certificates{Attributes: all(auth.URI)}, full, "https://x/alice"},
		"pattern":                   {auth.Certificates{Attributes: all(auth.URI), URIPattern: workload, URIIndex: 1}, full, "build"},
		"pattern without a group":   {auth.Certificates{Attributes: all(auth.URI), URIPattern: regexp.MustCompile("[a-z]+$"), URIIndex: 1}, full, "build"},
		"pattern of another URI":    {auth.Certificates{Attributes: all(auth.URI, auth.CommonName), URIPattern: workload}, full, "alice"},
		"pattern of an empty name":  {auth.Certificates{Attributes: all(auth.URI), URIPattern: regexp.MustCompile("^https://(z*)")}, full, ""},
		"no such URI":               {auth.Certificates{Attributes: all(auth.URI), URIIndex: 2}, full, ""},
		"nothing is a name":         {auth.Certificates{}, full, ""},
		"no common name":            {auth.Certificates{Attributes: all(auth.CommonName)}, nameless, ""},
		"no common name, then more": {auth.Certificates{Attributes: all(auth.CommonName, auth.URI, auth.Email, auth.DNSName, auth.Subject)}, nameless, "O=example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := auth.New(auth.Config{Certificates: &test.what, Methods: []auth.Method{password("p")}})
			says(t, g, trusted, trusted.signs(test.leaf), test.want)
		})
	}
	g := auth.New(auth.Config{Certificates: &auth.Certificates{Attributes: all(auth.CommonName)}, Methods: []auth.Method{password("p")}})
	says(t, g, trusted, nil, "")
	if c, err := g.Identify(asking(t, "ann", "p")); err != nil || c.Name() != "ann" {
		t.Errorf("a password beside: %q, %v", c.Name(), err)
	}
}

// says has a client of a server with TLS asked who it is.
func says(t *testing.T, g *auth.Gate, trusted authority, certificate *tls.Certificate, want string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := g.Identify(r)
		_, _ = fmt.Fprintf(w, "%s %t", c.Name(), err == nil)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(trusted.certificate)
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	if certificate != nil {
		client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{*certificate} //nolint:forcetypeassert // it is httptest's
	}
	for _, wrong := range []bool{false, true} {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody))
		expected := fmt.Sprintf("%s %t", want, want != "")
		if wrong {
			r.SetBasicAuth("ann", "wrong")
			expected = " false" // who says who they are, wrongly, is not who the certificate says
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || string(body) != expected {
			t.Errorf("%q, %v; want %q", body, err, expected)
		}
	}
}
