package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/seed-16d79997/zot/auth"
)

// MTLS says what of a client's certificate names who asks.
type MTLS struct {
	Attributes                     []auth.Attribute // tried in this order
	URIPattern                     string           // has the name as its first group; "": a URI is the name
	URIIndex, DNSIndex, EmailIndex int
}

// attributes are those of a certificate, by their names and others that zot has for them.
func attributes() map[string]auth.Attribute {
	return map[string]auth.Attribute{
		"cn": auth.CommonName, "commonname": auth.CommonName, "subject": auth.Subject, "dn": auth.Subject,
		"email": auth.Email, "rfc822name": auth.Email, "uri": auth.URI, "url": auth.URI, "dnsname": auth.DNSName, "dns": auth.DNSName,
	}
}

func readMTLS(s *section, c *Auth) {
	m := &MTLS{}
	c.MTLS = m
	names := []string{"CN"}
	s.list("identityAttributes", &names)
	for i, name := range names {
		a, known := attributes()[strings.ToLower(name)]
		if !known {
			s.problem(fmt.Sprintf("%s[%d]", s.key("identityAttributes"), i), "give CN, Subject, Email, URI or DNSName", "%q is no attribute of a certificate", name)
		}
		m.Attributes = append(m.Attributes, a)
	}
	if len(names) == 0 {
		m.Attributes = []auth.Attribute{auth.CommonName}
	}
	s.text("uriSanPattern", &m.URIPattern)
	p, err := regexp.Compile(m.URIPattern)
	switch {
	case err != nil:
		s.problem(s.key("uriSanPattern"), `write it as "^spiffe://example.org/workload/(.*)$"`, "%v", err)
	case m.URIPattern != "" && p.NumSubexp() == 0:
		s.note(s.key("uriSanPattern"), "has no group: all that it matches is the name")
	}
	readIndex(s, "uriSanIndex", &m.URIIndex)
	readIndex(s, "dnsSanIndex", &m.DNSIndex)
	readIndex(s, "emailSanIndex", &m.EmailIndex)
}

func readIndex(s *section, name string, index *int) {
	if s.number(name, index); *index < 0 {
		s.problem(s.key(name), "give 0 for the first", "%d is none of them", *index)
	}
}

// Certificates is what of a certificate names who asks, also where the file does not say.
func (m *MTLS) Certificates() *auth.Certificates {
	if m == nil {
		return &auth.Certificates{Attributes: []auth.Attribute{auth.CommonName}}
	}
	c := &auth.Certificates{Attributes: m.Attributes, URIIndex: m.URIIndex, DNSIndex: m.DNSIndex, EmailIndex: m.EmailIndex}
	if m.URIPattern != "" {
		c.URIPattern = regexp.MustCompile(m.URIPattern) // it was compiled when it was read
	}
	return c
}

// checkMTLS notes what nobody will be asked for.
func checkMTLS(h *HTTP, r *reader) {
	if h.Auth.MTLS != nil && !h.TLS.Certifies() {
		r.note("http.auth.mtls", "says nothing without http.tls.cert, key and cacert: clients are not asked for certificates")
	}
}
