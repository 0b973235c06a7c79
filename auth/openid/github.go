package openid

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/endpoints"
)

const (
	perPage   = 100
	maxPages  = 50
	maxAnswer = 4 << 20 // bytes
)

// gitHub speaks to GitHub, or to a GitHub Enterprise of one's own, by its REST API.
type gitHub struct {
	at     oauth2.Endpoint
	api    string // without a slash at its end
	client *http.Client
}

// newGitHub finds the API at the host of AuthURL, if that is not GitHub's own.
func newGitHub(c Provider, client *http.Client) *gitHub {
	g := &gitHub{at: endpoints.GitHub, api: "https://api.github.com", client: client}
	g.at.AuthStyle = oauth2.AuthStyleInParams
	if u, err := url.Parse(c.AuthURL); err == nil && u.Host != "" && u.Host != "github.com" {
		g.api = u.Scheme + "://" + u.Host + "/api/v3"
		g.at.AuthURL, g.at.TokenURL = c.AuthURL, u.Scheme+"://"+u.Host+"/login/oauth/access_token"
	}
	return g
}

func (g *gitHub) endpoint(context.Context) (oauth2.Endpoint, error) { return g.at, nil }

func (g *gitHub) assertionFor() string { return g.at.TokenURL }

func (*gitHub) endSession(context.Context) string { return "" }

// person is the primary email address, if it is verified, with organisations and, as organisation/team, teams for groups.
func (g *gitHub) person(ctx context.Context, token *oauth2.Token, _ string) (Person, error) {
	who := Person{}
	var emails []struct {
		Email             string
		Primary, Verified bool
	}
	if err := g.get(ctx, token, "/user/emails", 1, &emails); err != nil {
		return who, err
	}
	for _, e := range emails {
		if e.Primary && e.Verified {
			who.Name = e.Email
		}
	}
	if who.Name == "" {
		return who, fmt.Errorf("%w: GitHub shows no primary email address that is verified; the scopes need user:email or user", ErrRefused)
	}
	type org struct{ Login string }
	type team struct {
		Slug         string
		Organization org
	}
	if err := each(ctx, g, token, "/user/orgs", func(o org) { who.Groups = append(who.Groups, o.Login) }); err != nil {
		return who, err
	}
	return who, each(ctx, g, token, "/user/teams", func(t team) { who.Groups = append(who.Groups, t.Organization.Login+"/"+t.Slug) })
}

// each reads a list, page by page.
func each[T any](ctx context.Context, g *gitHub, token *oauth2.Token, path string, take func(T)) error {
	for page := 1; page <= maxPages; page++ {
		var some []T
		if err := g.get(ctx, token, path, page, &some); err != nil {
			return err
		}
		for _, one := range some {
			take(one)
		}
		if len(some) < perPage {
			return nil
		}
	}
	return fmt.Errorf("%s has more than %d pages", path, maxPages)
}

// get reads a page of a list. What the token has no scope for is an empty one: policies only grant.
func (g *gitHub) get(ctx context.Context, token *oauth2.Token, path string, page int, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.api+path+"?per_page="+strconv.Itoa(perPage)+"&page="+strconv.Itoa(page), http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	token.SetAuthHeader(r)
	answer, err := g.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it is only read
	limited := answer.Header.Get("X-Ratelimit-Remaining") == "0"
	switch {
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusForbidden && !limited:
		return nil
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answers %s", path, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
