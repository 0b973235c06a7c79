package bearer

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Upstream is a token service that a registry asks in the name of its clients.
type Upstream struct {
	URL, Service string // where it is, and what tokens are asked for there
	// Withheld are issuers beside Config.Issuers whose tokens it is never shown.
	Withheld []string
}

// TokenRequest is what a client asks a token service.
type TokenRequest struct {
	Post          bool
	Fields        url.Values // of the form of a POST, or of the query of a GET
	Authorization string     // "" where there is none
}

// TokenAnswer is what a token service says.
type TokenAnswer struct {
	Status int // 200 to 299, or 400 or more
	Header http.Header
	Body   []byte
}

// Refuses reports whether the credentials were no good. RFC 6749, 5.2, has 400 for that.
func (a TokenAnswer) Refuses() bool {
	return a.Status == http.StatusBadRequest || a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden
}

// Subject is whose token it is, as that says itself: "" if a token service has not looked at the credentials that it got. It
// reports whether there is such a token.
func (a TokenAnswer) Subject() (name string, is bool) {
	said, claims := struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}{}, struct {
		Subject string `json:"sub"`
	}{}
	if json.Unmarshal(a.Body, &said) != nil {
		return "", false
	}
	parts := strings.Split(cmp.Or(said.Token, said.Access), ".")
	if len(parts) != 3 {
		return "", false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return "", false
	}
	return claims.Subject, true
}

const (
	upstreamTimeout     = 10 * time.Second
	upstreamConnections = 64 // at once
)

// Via is in the header of this name of all requests to another token service. A request that comes with it has been here before.
const Via = "1.1 zot-token-upstream"

// ErrNoUpstream is returned by AskUpstream where there is none.
var ErrNoUpstream = errors.New("there is no other token service")

type upstream struct {
	config Upstream
	at     *url.URL
	http   *http.Client
}

func newUpstream(c Upstream) (*upstream, error) {
	at, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("token service: %w", err)
	}
	return &upstream{config: c, at: at, http: &http.Client{
		Timeout: upstreamTimeout, CheckRedirect: stay,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, IdleConnTimeout: time.Minute,
			ForceAttemptHTTP2: true, MaxConnsPerHost: upstreamConnections, MaxIdleConnsPerHost: upstreamConnections,
		},
	}}, nil
}

func (u *upstream) close() { u.http.CloseIdleConnections() }

// HasUpstream reports whether there is a token service to ask in the name of clients.
func (v *Verifier) HasUpstream() bool { return v.upstream != nil }

// AskUpstream has the other token service answer. It fails with ErrNoUpstream, or another error if there is no answer now, which never quotes the request.
func (v *Verifier) AskUpstream(ctx context.Context, q TokenRequest) (TokenAnswer, error) {
	if v.upstream == nil {
		return TokenAnswer{}, ErrNoUpstream
	}
	a, err := v.upstream.ask(ctx, q)
	if err != nil {
		return TokenAnswer{}, fmt.Errorf("ask the token service at %s: %w", v.upstream.at.Host, err)
	}
	return a, nil
}

func (u *upstream) ask(ctx context.Context, q TokenRequest) (TokenAnswer, error) {
	r, err := u.request(ctx, q)
	if err != nil {
		return TokenAnswer{}, err
	}
	answer, err := u.http.Do(r)
	if err != nil {
		if of, is := errors.AsType[*url.Error](err); is { // it has the query
			err = of.Err
		}
		return TokenAnswer{}, err
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	switch answer.StatusCode / 100 {
	case 1: // another protocol begins, which has no end
		return TokenAnswer{}, fmt.Errorf("it does not answer, but %s", answer.Status)
	case 3: // a client that followed would give its password to whoever is there
		return TokenAnswer{}, fmt.Errorf("it sends elsewhere, with %s", answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return TokenAnswer{}, err
	case len(body) > maxAnswer:
		return TokenAnswer{}, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return TokenAnswer{Status: answer.StatusCode, Header: answer.Header, Body: body}, nil
}

// request is q for this token service. What its address asks for by itself a client cannot change.
func (u *upstream) request(ctx context.Context, q TokenRequest) (*http.Request, error) {
	at, fixed, fields := *u.at, u.at.Query(), url.Values{}
	maps.Copy(fields, q.Fields)
	fixed.Set("service", u.config.Service)
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if q.Post {
		maps.DeleteFunc(fields, func(name string, _ []string) bool { return fixed.Has(name) })
		fields.Set("service", u.config.Service)
		method, body = http.MethodPost, strings.NewReader(fields.Encode())
	} else {
		maps.Copy(fields, fixed)
		fixed = fields
	}
	at.RawQuery = fixed.Encode()
	r, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Via", Via)
	if q.Post {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if q.Authorization != "" {
		r.Header.Set("Authorization", q.Authorization)
	}
	return r, nil
}
