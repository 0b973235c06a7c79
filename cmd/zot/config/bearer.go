package config

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/seed-16d79997/zot/auth/bearer"
	"github.com/seed-16d79997/zot/auth/condition"
)

// Bearer says whose tokens are believed: of another token service, and of OpenID issuers.
type Bearer struct {
	Realm, Service string           // where clients get tokens, and what they ask for there
	Cert           string           // a file with the service's certificate or public key; "": there is none
	Secret         *bearer.Secret   // with the service's keys, in place of a file; nil: there is none
	OIDC           []bearer.Issuer  // of workloads
	Upstream       *bearer.Upstream // asked in the name of those who are none; nil: there is none
}

// hasKeys reports whether the tokens of a token service can be believed.
func (b *Bearer) hasKeys() bool { return b.Cert != "" || b.Secret != nil }

// readBearer reads a section that is on with realm, service and the service's keys, or with an issuer. Where it is only half
// there nobody can log in by it.
func readBearer(s *section, c *Auth) {
	b := &Bearer{}
	s.text("realm", &b.Realm)
	s.text("service", &b.Service)
	s.text("cert", &b.Cert)
	s.sections("oidc", func(s *section) { b.OIDC = append(b.OIDC, readIssuer(s)) })
	s.section("awsSecretsManager", func(s *section) { b.Secret = readSecret(s) })
	s.section("upstreamTokenEndpoint", func(s *section) { b.Upstream = readTokenUpstream(s) })
	if b.Cert != "" && b.Secret != nil {
		s.problem(s.key("awsSecretsManager"), "remove one of them", "stands beside cert")
	}
	whole := b.Realm != "" && b.Service != "" && b.hasKeys()
	switch {
	case whole || len(b.OIDC) > 0:
		c.Bearer = b
		if !whole && b.hasKeys() {
			key := "cert"
			if b.Secret != nil {
				key = "awsSecretsManager"
			}
			s.note(s.key(key), "says nothing without realm and service")
			b.Cert, b.Secret = "", nil
		}
		b.judgeUpstream(s)
		if b.Realm == "" {
			s.note(s.key("realm"), `is missing: Docker, and whatever else knows passwords alone, needs it to log in, as "https://registry.example/zot/auth/token" of this registry`)
		}
	default:
		c.Half = true
		s.note(s.path, "is on only with realm, service and cert or awsSecretsManager, or with oidc: nobody can log in by it")
	}
	if u, err := url.Parse(b.Realm); b.Realm != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		s.note(s.key("realm"), `%q is no address that clients could ask for a token, as "https://auth.example/token"`, withoutAccount(b.Realm))
	}
}

func readIssuer(s *section) (i bearer.Issuer) {
	s.text("issuer", &i.URL)
	s.list("audiences", &i.Audiences)
	s.section("claimMapping", func(s *section) { i.Mapping = readMapping(s) })
	s.text("certificateAuthority", &i.CA)
	s.text("certificateAuthorityFile", &i.CAFile)
	if s.boolean("skipIssuerVerification", &i.AnyIssuer); i.AnyIssuer {
		s.note(s.key("skipIssuerVerification"), "is INSECURE: whoever has a token by this issuer's keys can say in it that another has made it, and so be anybody; it is for tests alone")
	}
	u, err := url.Parse(i.URL)
	switch {
	case i.URL == "":
		s.problem(s.key("issuer"), `give its address, as "https://token.actions.githubusercontent.com"`, "is missing")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		s.problem(s.key("issuer"), `write it as "https://issuer.example"`, "%q is no address of an issuer", withoutAccount(i.URL))
	case u.Scheme == "http":
		s.note(s.key("issuer"), "is asked for its keys in the clear: whoever is between can name anybody")
	}
	if len(i.Audiences) == 0 {
		s.problem(s.key("audiences"), `say for whom tokens are, as ["zot"]`, "is missing: tokens that the issuer makes for others would be good here")
	}
	switch {
	case i.CA != "" && i.CAFile != "":
		s.problem(s.key("certificateAuthorityFile"), "remove one of them", "stands beside certificateAuthority")
	case i.CA != "" && !holdsCertificate([]byte(i.CA)):
		s.problem(s.key("certificateAuthority"), "give certificates in PEM, or name a file by certificateAuthorityFile", "holds no certificate")
	}
	return i
}

func readMapping(s *section) (m condition.Mapping) {
	s.text("username", &m.Username)
	s.text("groups", &m.Groups)
	s.sections("variables", func(s *section) {
		var v condition.Variable
		s.text("name", &v.Name)
		s.text("expression", &v.Expression)
		m.Variables = append(m.Variables, v)
	})
	s.sections("validations", func(s *section) {
		var v condition.Validation
		s.text("expression", &v.Expression)
		s.text("message", &v.Message)
		m.Validations = append(m.Validations, v)
	})
	compiler, err := condition.NewCompiler()
	if err != nil {
		s.problem(s.path, "", "%v", err)
		return m
	}
	_, err = compiler.Mapper(m)
	for _, one := range unjoined(err) {
		if at, is := errors.AsType[*condition.KeyError](one); is {
			s.problem(s.key(at.Key), `write it in CEL, as "claims.sub"`, "%v", at.Err)
		}
	}
	return m
}

// unjoined are the errors that errors.Join has made one of.
func unjoined(err error) []error {
	if many, is := err.(interface{ Unwrap() []error }); is {
		return many.Unwrap()
	}
	return nil
}

// onlyBearer turns off what else says who clients are, and what is made of that: with bearer, tokens alone do.
func onlyBearer(c *Config, r *reader) {
	a := &c.HTTP.Auth
	if a.Bearer == nil {
		return
	}
	const off = "is off: with http.auth.bearer, tokens alone say who somebody is"
	for _, other := range []struct {
		key string
		on  bool
	}{
		{"http.auth.ldap", a.LDAP != nil},
		{"http.auth.htpasswd", a.Htpasswd != ""},
		{"http.auth.openid", a.OpenID != nil},
		{"http.auth.apikey", a.APIKeys || c.Extensions.APIKeys},
		{"http.auth.mtls", a.MTLS != nil},
	} {
		if other.on {
			r.note(other.key, off)
		}
	}
	if a.OpenID != nil && a.Bearer.Upstream != nil { // nor is anybody shown what these say of people
		for _, p := range a.OpenID.Providers {
			if p.Issuer != "" {
				a.Bearer.Upstream.Withheld = append(a.Bearer.Upstream.Withheld, p.Issuer)
			}
		}
	}
	a.LDAP, a.Htpasswd, a.OpenID, a.MTLS, a.APIKeys = nil, "", nil, nil, false
	if a.Access != nil && a.Bearer.hasKeys() {
		r.note("http.accessControl", "says nothing of who has a token of the token service: what the token is for decides alone")
	}
}

// checkFiles reads the files that the section names.
func (b *Bearer) checkFiles(r *reader) {
	if b.Cert != "" {
		const key = "http.auth.bearer.cert"
		if data := r.file(key, b.Cert); data != nil {
			if err := bearer.CheckKey(data); err != nil {
				r.problem(key, "give the certificate or public key of the token service in PEM", "%s: %v", b.Cert, err)
			}
		}
	}
	for i, one := range b.OIDC {
		if key := fmt.Sprintf("http.auth.bearer.oidc[%d].certificateAuthorityFile", i); one.CAFile != "" {
			if data := r.file(key, one.CAFile); data != nil && !holdsCertificate(data) {
				r.problem(key, "give certificates in PEM", "%s holds no certificate", one.CAFile)
			}
		}
	}
}
