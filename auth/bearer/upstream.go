package bearer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
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
	Query, Form                      url.Values // Form is nil for a GET
	Authorization, Accept, UserAgent string     // "" where there is none
}

// TokenAnswer is what a token service says.
type TokenAnswer struct {
	Status int // 200 to 299, or 400 or more
	Header http.Header
	Body   []byte
}

const (
	upstreamTimeout     = 10 * time.Second
	upstreamConnections = 64 // at once
)

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

// Issued reports whether a text says that it is a token of an issuer, or could be one of those that take any. Whether it holds does not matter: it
// is nothing to show to others.
func (v *Verifier) Issued(text string) bool {
	said, is := issuerIn(text)
	if !is {
		return false
	}
	same := func(other string) bool { return strings.TrimSuffix(other, "/") == strings.TrimSuffix(said, "/") }
	return slices.ContainsFunc(v.issuers, func(i *issuer) bool { return i.config.AnyIssuer || same(i.config.URL) }) ||
		v.upstream != nil && slices.ContainsFunc(v.upstream.config.Withheld, same)
}

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
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return TokenAnswer{}, err
	case len(body) > maxAnswer:
		return TokenAnswer{}, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	case answer.StatusCode/100 == 3: // a client that followed would give its password to whoever is there
		return TokenAnswer{}, fmt.Errorf("it sends elsewhere, with %s", answer.Status)
	}
	return TokenAnswer{Status: answer.StatusCode, Header: answer.Header, Body: body}, nil
}

// request is q for this token service. What its address asks for by itself a client cannot change.
func (u *upstream) request(ctx context.Context, q TokenRequest) (*http.Request, error) {
	at, query := *u.at, maps.Clone(q.Query)
	if query == nil {
		query = url.Values{}
	}
	maps.Copy(query, u.at.Query())
	query.Set("service", u.config.Service)
	at.RawQuery = query.Encode()
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if q.Form != nil {
		form := maps.Clone(q.Form)
		form.Set("service", u.config.Service)
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, err
	}
	if q.Form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range map[string]string{"Authorization": q.Authorization, "Accept": q.Accept, "User-Agent": q.UserAgent} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r, nil
}
