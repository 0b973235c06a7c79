package bearer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/seed-16d79997/zot/auth/condition"
)

// Issuer is an OpenID provider whose tokens say who somebody is.
type Issuer struct {
	URL       string
	Audiences []string          // a token is for one of them
	Mapping   condition.Mapping // says whose a token is
	CA        string            // who has signed the issuer's certificate, in PEM; "": CAFile, or else the system's
	CAFile    string
	// AnyIssuer has a token name whom it will as its issuer: that it is signed by this one's keys is enough. Whoever has a
	// token of this issuer's then decides what claims.iss is.
	AnyIssuer bool
}

// issuer finds the keys of an Issuer when the first token comes: it may not be up before this node is.
type issuer struct {
	config Issuer
	mapper *condition.Mapper
	client atomic.Pointer[client]

	mu       sync.Mutex // held while the issuer is asked where its keys are
	verifier *oidc.IDTokenVerifier
	of       *client   // that it was found with
	since    time.Time // it was found
}

// How long an issuer is not asked again where its keys are and which there are, and how long what it said counts while it does
// not answer: a key that it has withdrawn is believed no longer than that.
const (
	issuerFresh = 5 * time.Minute
	issuerStale = time.Hour
)

// client speaks to an issuer, with the CA of a moment.
type client struct {
	http *http.Client
	ca   []byte
}

// newClient speaks through a transport, thriftily.
func newClient(to http.RoundTripper, ca []byte) *client {
	return &client{http: &http.Client{Transport: &thrifty{to: to}, Timeout: issuerTimeout}, ca: ca}
}

// close gives back connections that nobody uses.
func (c *client) close() { c.http.CloseIdleConnections() }

func newIssuer(c Issuer) (*issuer, error) {
	compiler, err := condition.NewCompiler()
	if err != nil {
		return nil, err
	}
	i := &issuer{config: c}
	if i.mapper, err = compiler.Mapper(c.Mapping); err != nil {
		return nil, err
	}
	_, err = i.reload()
	return i, err
}

// reload reads the CA again. If it fails, what was read before holds.
func (i *issuer) reload() (changed bool, err error) {
	before := i.client.Load()
	ca := []byte(i.config.CA)
	if i.config.CAFile != "" {
		if ca, err = os.ReadFile(i.config.CAFile); err != nil {
			return false, err
		}
	}
	if before != nil && bytes.Equal(before.ca, ca) {
		return false, nil
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	if len(ca) > 0 {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(ca) {
			return false, errors.New("the CA holds no certificate in PEM")
		}
	}
	i.client.Store(newClient(transport, ca))
	if before != nil {
		before.close()
	}
	return before != nil, nil
}

func (i *issuer) close() { i.client.Load().close() }

// issuersOf are those that a token says it is of, and then those that take any. It may lie: each verifies.
func (v *Verifier) issuersOf(text string) (all []*issuer) {
	if len(v.issuers) == 0 {
		return nil
	}
	said, is := issuerIn(text)
	if !is {
		return nil
	}
	var others []*issuer
	for _, i := range v.issuers {
		switch {
		case i.config.URL == said:
			all = append(all, i)
		case i.config.AnyIssuer:
			others = append(others, i)
		}
	}
	return append(all, others...)
}

// issuerIn is the issuer that a token says it is of, or "". It reports whether it is a token at all, or could be taken for one.
func issuerIn(text string) (name string, is bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return "", false
	}
	said := struct {
		Issuer string `json:"iss"`
	}{}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(payload, &said) != nil {
		return "", false
	}
	return said.Issuer, true
}

// verify reads a token of this issuer. Its errors are those of Verifier.Verify.
func (i *issuer) verify(ctx context.Context, text string, now time.Time) (Claims, error) {
	c := i.client.Load()
	verifier, err := i.found(c, now) //nolint:contextcheck // it is of use to all that wait, and has a time limit of its own
	if err != nil {
		return Claims{}, fmt.Errorf("ask the issuer %s for its keys: %w", i.config.URL, err)
	}
	var unanswered error
	said, err := verifier.Verify(context.WithValue(ctx, unansweredKey{}, &unanswered), text)
	switch {
	case err != nil && unanswered != nil: // there may be a key that would do
		return Claims{}, fmt.Errorf("ask the issuer %s for its keys: %w", i.config.URL, unanswered)
	case err != nil && ctx.Err() != nil:
		return Claims{}, ctx.Err()
	case err != nil:
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	claims := Claims{Workload: true, Expires: said.Expiry}
	times := struct {
		NotBefore float64 `json:"nbf"`
		IssuedAt  float64 `json:"iat"`
	}{}
	if err := errors.Join(said.Claims(&claims.All), said.Claims(&times)); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if soon := float64(now.Add(leeway).Unix()); times.NotBefore > soon || times.IssuedAt > soon {
		return Claims{}, fmt.Errorf("%w: it is not for now yet", ErrInvalid)
	}
	if !slices.ContainsFunc(said.Audience, func(one string) bool { return slices.Contains(i.config.Audiences, one) }) {
		return Claims{}, fmt.Errorf("%w: it is for nobody here", ErrInvalid)
	}
	if claims.Subject, claims.Groups, err = i.mapper.Map(claims.All); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return claims, nil
}

// found is the verifier of an issuer, which is looked for at the first time, and again after a while.
func (i *issuer) found(c *client, now time.Time) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	age := now.Sub(i.since)
	if i.verifier != nil && i.of == c && age < issuerFresh {
		return i.verifier, nil
	}
	ctx := oidc.ClientContext(context.Background(), c.http)
	provider, err := oidc.NewProvider(ctx, i.config.URL)
	described := struct {
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}{}
	if err == nil {
		err = provider.Claims(&described)
	}
	switch {
	case err == nil:
	case i.verifier != nil && i.of == c && age < issuerStale:
		return i.verifier, nil
	default:
		return nil, err
	}
	if described.Algorithms = slices.DeleteFunc(described.Algorithms, func(a string) bool { return !slices.Contains(publicAlgorithms(), jose.SignatureAlgorithm(a)) }); len(described.Algorithms) == 0 {
		described.Algorithms = []string{oidc.RS256} // which each issuer has
	}
	i.verifier = oidc.NewVerifier(i.config.URL, keySet{oidc.NewRemoteKeySet(ctx, described.Keys)}, &oidc.Config{
		SkipClientIDCheck: true, SkipIssuerCheck: i.config.AnyIssuer, SupportedSigningAlgs: described.Algorithms, // audiences are several
	})
	i.of, i.since = c, now
	return i.verifier, nil
}

// unansweredKey is for the error of an issuer that did not answer, which go-oidc hands on as text.
type unansweredKey struct{}

// keySet is the keys of an issuer, and tells apart that none of them fits from that they are not known.
type keySet struct{ *oidc.RemoteKeySet }

// VerifySignature is for go-oidc.
func (k keySet) VerifySignature(ctx context.Context, text string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, text)
	if at, is := ctx.Value(unansweredKey{}).(*error); is && err != nil && strings.HasPrefix(err.Error(), "fetching keys") {
		*at = err
	}
	return payload, err
}
