package auth

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/auth/bearer"
)

// The answers to a request for a token that another token service is not asked.
var (
	// ErrTokenRequest is that to one which this registry and the token service could read each in its own way. What is to be
	// done stands behind it.
	ErrTokenRequest = errors.New("the token service is not asked")
	// ErrOwnUpstream is that to one which this registry has sent itself.
	ErrOwnUpstream = errors.New("this registry asks itself for tokens")
)

// HandsOn reports whether a request for a token is for another token service to answer: there is one, and nothing in the
// request says that it is a token of an issuer, which is nobody else's to see. Form is that of a POST, else nil.
func (g *Gate) HandsOn(r *http.Request, form url.Values) bool {
	if g == nil || g.config.Bearer == nil || !g.config.Bearer.HasUpstream() {
		return false
	}
	name, password, _ := r.BasicAuth()
	texts := []string{name, password, bearerOf(r)}
	for _, values := range []url.Values{r.URL.Query(), form} {
		for key, all := range values {
			texts = append(append(texts, key), all...)
		}
	}
	return !slices.ContainsFunc(texts, g.config.Bearer.Issued)
}

// AskUpstream has the other token service answer a request for a token, which is written anew. A password that it
// refuses is one that was wrong here. Name is of whom it is convinced, or "".
//   - ErrCredentials for credentials of a kind that nobody here understands
//   - ErrTokenRequest, ErrOwnUpstream
//   - a TooMany
//   - another error if it does not answer
func (g *Gate) AskUpstream(r *http.Request, form url.Values) (answer bearer.TokenAnswer, name string, err error) {
	if strings.Contains(strings.Join(r.Header["Via"], ","), bearer.Via) {
		return answer, "", ErrOwnUpstream
	}
	var asked tokenRequest
	if form == nil {
		asked, err = getOf(r)
	} else {
		asked, err = postOf(r, form)
	}
	if err != nil {
		return answer, "", err
	}
	if asked.guessed {
		answer, err = g.askByPassword(r.Context(), g.client(r), asked)
	} else {
		answer, err = g.askUpstream(r.Context(), asked.TokenRequest)
	}
	if err != nil || judged(answer) != correct {
		return answer, "", err
	}
	if name, is := answer.Subject(); is {
		return answer, name, nil
	}
	return answer, asked.name, nil
}

// askByPassword asks with a password, which may be a guess. Of several requests with the same at once one is judged first.
// What is right is remembered, so that many at once are no more than one try.
func (g *Gate) askByPassword(ctx context.Context, from netip.Addr, q tokenRequest) (bearer.TokenAnswer, error) {
	account := q.name
	if q.Post {
		// A token service that looks into headers alone says yes to any form. That must not count as a right password where
		// it does look. No name in a header has a colon.
		account = "form:" + account
	}
	who, key := pairOf(account, from), g.right.Of(account, q.password)
	if err := g.tries.may(who); err != nil { // first: else a guess that is right would show at once
		return bearer.TokenAnswer{}, err
	}
	if _, known := g.right.Find(key); !known {
		own := false
		done := g.asking.DoChan(string(key[:]), func() (any, error) {
			if _, known := g.right.Find(key); known { // another has ended since who asks has looked
				return bearer.TokenAnswer{Status: http.StatusOK}, nil
			}
			own = true
			answer, err := g.tryUpstream(context.WithoutCancel(ctx), who, q) // of use to those who wait also when the first has gone
			if err == nil && judged(answer) == correct {
				g.right.Keep(key, struct{}{})
			}
			return answer, err
		})
		select {
		case result := <-done:
			answer, _ := result.Val.(bearer.TokenAnswer)
			if own || result.Err != nil || judged(answer) != correct {
				return answer, result.Err
			}
		case <-ctx.Done():
			return bearer.TokenAnswer{}, ctx.Err()
		}
	}
	answer, err := g.askUpstream(ctx, q.TokenRequest)
	switch {
	case err != nil:
	case judged(answer) == correct:
		g.tries.was(who)
	case answer.Status == http.StatusUnauthorized: // it was another's a moment ago
		g.right.Forget(key)
	}
	return answer, err
}

// tryUpstream asks, and keeps count.
func (g *Gate) tryUpstream(ctx context.Context, who pair, q tokenRequest) (answer bearer.TokenAnswer, err error) {
	if err := g.tries.begin(who); err != nil {
		return answer, err
	}
	ended := undecided
	defer func() { g.tries.end(who, ended) }()
	if answer, err = g.askUpstream(ctx, q.TokenRequest); err == nil {
		ended = judged(answer)
	}
	return answer, err
}

// judged is what an answer says of the password.
func judged(a bearer.TokenAnswer) outcome {
	switch {
	case a.Refuses():
		return wrong
	case a.Status < http.StatusMultipleChoices:
		return correct
	}
	return undecided
}

func (g *Gate) askUpstream(ctx context.Context, q bearer.TokenRequest) (bearer.TokenAnswer, error) {
	defer g.trying.Add(-1)
	if g.trying.Add(1) > maxTrying {
		return bearer.TokenAnswer{}, errBusy
	}
	return g.config.Bearer.AskUpstream(ctx, q)
}
