package openid

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// discovering speaks to a provider by what it says of itself below its issuer. It is asked when somebody logs in, and again
// until it has answered: one that is down keeps no node from starting.
type discovering struct {
	config Provider
	client *http.Client
	log    hclog.Logger

	asking singleflight.Group
	found  atomic.Pointer[found]
}

// found is what a provider says of itself.
type found struct {
	*oidc.Provider

	verifier *oidc.IDTokenVerifier
	style    oauth2.AuthStyle
	end      string
}

// ask returns what the provider says of itself. All who ask at once share one request.
func (d *discovering) ask(ctx context.Context) (*found, error) {
	if f := d.found.Load(); f != nil {
		return f, nil
	}
	shared := context.WithoutCancel(ctx) // it is of use also when who has asked first has gone; the client bounds it
	done := d.asking.DoChan("", func() (any, error) { return d.discover(shared) })
	select {
	case answer := <-done:
		f, _ := answer.Val.(*found)
		return f, answer.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *discovering) discover(ctx context.Context) (*found, error) {
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, d.client), d.config.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discover %s: %w", d.config.Issuer, err)
	}
	var more struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
		End     string   `json:"end_session_endpoint"`
	}
	if err := p.Claims(&more); err != nil {
		return nil, fmt.Errorf("discover %s: %w", d.config.Issuer, err)
	}
	f := &found{Provider: p, verifier: p.Verifier(&oidc.Config{ClientID: d.config.ClientID}), style: oauth2.AuthStyleInHeader, end: more.End}
	if slices.Contains(more.Methods, "client_secret_post") { // not all who take a header decode what is in it
		f.style = oauth2.AuthStyleInParams
	}
	d.found.Store(f)
	d.log.Info("openid provider is found", "issuer", d.config.Issuer)
	return f, nil
}

func (d *discovering) endpoint(ctx context.Context) (oauth2.Endpoint, error) {
	f, err := d.ask(ctx)
	if err != nil {
		return oauth2.Endpoint{}, err
	}
	at := f.Endpoint()
	at.AuthStyle = f.style
	return at, nil
}

// assertionFor is the issuer, as RFC 7523 is being amended: another server with the same token endpoint could use it otherwise.
func (d *discovering) assertionFor() string { return d.config.Issuer }

func (d *discovering) endSession(ctx context.Context) string {
	f, err := d.ask(ctx)
	if err != nil {
		return ""
	}
	u, err := url.Parse(f.end)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	q := u.Query()
	q.Set("client_id", d.config.ClientID)
	u.RawQuery = q.Encode()
	return u.String()
}

// person reads the ID token (OpenID Connect Core, 3.1.3.7), and asks for the claims that it lacks.
func (d *discovering) person(ctx context.Context, token *oauth2.Token, nonce string) (Person, error) {
	f, err := d.ask(ctx)
	if err != nil {
		return Person{}, err
	}
	text, _ := token.Extra("id_token").(string)
	if text == "" {
		return Person{}, errors.New(`the token endpoint sends no ID token: is "openid" among the scopes?`)
	}
	id, err := f.verifier.Verify(oidc.ClientContext(ctx, d.client), text)
	if err != nil {
		d.log.Warn("ID token does not hold", "error", err)
		return Person{}, fmt.Errorf("%w: the ID token does not hold; the log says why", ErrRefused)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) == 0 {
		return Person{}, fmt.Errorf("%w: the ID token is of another login", ErrRefused)
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return Person{}, fmt.Errorf("%w: the access token is of another login", ErrRefused)
		}
	}
	has := claims{}
	if err := id.Claims(&has); err != nil {
		return Person{}, fmt.Errorf("read the ID token: %w", err)
	}
	if party, given := has["azp"]; given && party != d.config.ClientID {
		return Person{}, fmt.Errorf("%w: the ID token is for another client", ErrRefused)
	}
	name, groups := d.names()
	if _, given := has[groups]; (!given || has[name] == nil) && f.UserInfoEndpoint() != "" {
		if err := has.add(ctx, f.Provider, token, id.Subject); err != nil {
			return Person{}, err
		}
	}
	return has.person(name, groups)
}

// names are those of the claims.
func (d *discovering) names() (name, groups string) {
	name, groups = d.config.UsernameClaim, d.config.GroupsClaim
	if name == "" {
		name = claimEmail
	}
	if groups == "" {
		groups = claimGroups
	}
	return name, groups
}
