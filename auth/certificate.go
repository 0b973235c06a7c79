package auth

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"regexp"
)

// Attribute is a part of a client's certificate that may name who asks.
type Attribute uint8

// The attributes.
const (
	CommonName Attribute = iota + 1
	Subject              // the whole, as CN=alice,O=example
	Email                // one of those that it is for, as are the next two
	URI
	DNSName
)

// Certificates says what of a certificate names who asks.
type Certificates struct {
	Attributes []Attribute // tried in this order
	// URIPattern has the name in a URI as its first group, or in the whole if it has none. Nil: the URI is the name.
	URIPattern                     *regexp.Regexp
	URIIndex, DNSIndex, EmailIndex int // which of several, from 0
}

// ErrCertificate is ErrCredentials of who has shown no certificate, where everybody has to.
var ErrCertificate = fmt.Errorf("%w: a client certificate is needed here, and this connection came without one", ErrCredentials)

// Certified fails with ErrCertificate if everybody has to show a certificate, and whoever sends a request has shown none. It
// is asked before anything is answered: by the listener nobody is turned away who shows none, for those who watch over a node have none.
func (g *Gate) Certified(r *http.Request) error {
	if g == nil || !g.config.MustCertify || r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return nil
	}
	return ErrCertificate
}

// name is who a client's certificate says it is, or "". It is that of the client itself, not of who has signed it.
func (c *Certificates) name(r *http.Request) string {
	if c == nil || r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return ""
	}
	leaf := r.TLS.VerifiedChains[0][0]
	for _, a := range c.Attributes {
		if name := c.attribute(a, leaf); name != "" {
			return name
		}
	}
	return ""
}

// attribute is what a certificate has for a name, or "".
func (c *Certificates) attribute(a Attribute, leaf *x509.Certificate) string {
	switch a {
	case CommonName:
		return leaf.Subject.CommonName
	case Subject:
		return leaf.Subject.String()
	case Email:
		return at(leaf.EmailAddresses, c.EmailIndex)
	case DNSName:
		return at(leaf.DNSNames, c.DNSIndex)
	case URI:
		if c.URIIndex >= len(leaf.URIs) {
			return ""
		}
		return c.inURI(leaf.URIs[c.URIIndex].String())
	}
	return ""
}

func (c *Certificates) inURI(uri string) string {
	if c.URIPattern == nil {
		return uri
	}
	found := c.URIPattern.FindStringSubmatch(uri)
	return at(found, min(1, c.URIPattern.NumSubexp()))
}

func at(all []string, i int) string {
	if i >= len(all) {
		return ""
	}
	return all[i]
}
