package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/seed-16d79997/zot/auth/bearer"
)

// ErrSeveral is the answer to who gives several names or passwords at once: this registry and the token service behind it could
// each take another for the one that is meant.
var ErrSeveral = errors.New("the request has several names, passwords or kinds of credentials: give one")

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

// AskUpstream has the other token service answer a request for a token. A password that it refuses is one that was wrong here.
//   - ErrCredentials for credentials of a kind that nobody here understands
//   - ErrSeveral
//   - a TooMany
//   - another error if it does not answer
func (g *Gate) AskUpstream(r *http.Request, form url.Values) (answer bearer.TokenAnswer, err error) {
	login, err := loginIn(r, form)
	if err != nil {
		return answer, err
	}
	q := bearer.TokenRequest{Query: r.URL.Query(), Form: form, Authorization: login.header, Accept: r.Header.Get("Accept"), UserAgent: r.UserAgent()}
	if login.password == "" { // nobody in particular, or who has a secret that nobody guesses
		return g.askUpstream(r.Context(), q)
	}
	who, ended := pairOf(login.name, g.client(r)), undecided
	if err := g.tries.begin(who); err != nil {
		return answer, err
	}
	defer func() { g.tries.end(who, ended) }()
	answer, err = g.askUpstream(r.Context(), q)
	switch {
	case err != nil:
	case answer.Status == http.StatusUnauthorized:
		ended = wrong
	case answer.Status < http.StatusMultipleChoices:
		ended = correct
	}
	return answer, err
}

func (g *Gate) askUpstream(ctx context.Context, q bearer.TokenRequest) (bearer.TokenAnswer, error) {
	defer g.trying.Add(-1)
	if g.trying.Add(1) > maxTrying {
		return bearer.TokenAnswer{}, errBusy
	}
	return g.config.Bearer.AskUpstream(ctx, q)
}

// login is who a request for a token says that it is from.
type login struct {
	name, password string
	header         string // Authorization as it is handed on, or ""
}

// loginIn finds the one name and password in a request for a token, wherever a token service could look for them. What is
// handed on is written anew: it must not be read as another's elsewhere. It fails as AskUpstream.
func loginIn(r *http.Request, form url.Values) (l login, err error) {
	query := r.URL.Query()
	var names, passwords []string
	for _, values := range []url.Values{query, form} {
		names, passwords = append(names, values["username"]...), append(passwords, values["password"]...)
	}
	name, password, basic := r.BasicAuth()
	given := r.Header["Authorization"]
	switch text := bearerOf(r); {
	case len(given) == 0:
	case len(given) > 1:
		return l, ErrCredentials
	case basic:
		names, passwords = append(names, name), append(passwords, password)
		anew := http.Request{Header: http.Header{}}
		anew.SetBasicAuth(name, password)
		l.header = anew.Header.Get("Authorization")
	case text != "":
		l.header = bearerScheme + text
	default:
		return l, ErrCredentials
	}
	if len(names) > 1 || len(passwords) > 1 {
		return l, fmt.Errorf("%w, in Authorization or in the form", ErrSeveral)
	}
	if len(names) == 1 {
		l.name = names[0]
	}
	if len(passwords) == 1 {
		l.password = passwords[0]
	}
	return l, nil
}
