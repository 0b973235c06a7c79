package bearer

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// Issued reports whether a text says that it is a token of an issuer, or could be one of those that take any. Whether it holds
// does not matter, nor whether it is whole: it is nothing to show to others.
func (v *Verifier) Issued(text string) bool {
	said, is := issuersIn(text)
	if !is {
		return false
	}
	named := func(issuer string) bool { return slices.Contains(said, nameOf(issuer)) }
	return slices.ContainsFunc(v.issuers, func(i *issuer) bool { return i.config.AnyIssuer || named(i.config.URL) }) ||
		v.upstream != nil && slices.ContainsFunc(v.upstream.config.Withheld, named)
}

// issuersIn are the names of the issuers that a text says it is of, however badly a token was copied. It reports whether
// anything in it could be the claims of one.
func issuersIn(text string) (names []string, is bool) {
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '+':
			return '-'
		case c == '/':
			return '_'
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '-', c == '_', c == '.':
			return c
		}
		return -1 // white space, padding, quotes
	}, text)
	for n, part := range strings.Split(text, ".") {
		said := struct {
			Issuer string `json:"iss"`
		}{}
		payload, err := base64.RawURLEncoding.DecodeString(part)
		if n == 0 || err != nil || json.Unmarshal(payload, &said) != nil { // the first says how it is signed
			continue
		}
		is = true
		names = append(names, nameOf(said.Issuer))
	}
	return names, is
}

// nameOf is what remains the same of an issuer's address, however it is written. Google's tokens leave out the scheme.
func nameOf(issuer string) string {
	issuer = strings.ToLower(issuer)
	if _, rest, has := strings.Cut(issuer, "://"); has {
		issuer = rest
	}
	return strings.TrimRight(issuer, "/")
}
