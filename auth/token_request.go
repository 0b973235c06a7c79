package auth

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-16d79997/zot/auth/bearer"
)

// tokenRequest is a request for a token as it is handed on. It has one place for credentials, and nothing in it that a token
// service could take for others.
type tokenRequest struct {
	bearer.TokenRequest

	guessed        bool // it has a password. Tokens are long and random: nobody guesses them
	name, password string
}

// getOf reads a GET: credentials are in Authorization, or there are none.
func getOf(r *http.Request) (q tokenRequest, err error) {
	given := r.Header["Authorization"]
	name, password, basic := r.BasicAuth()
	switch text := bearerOf(r); {
	case len(given) > 1:
		return q, ErrCredentials
	case len(given) == 0, basic && name == "" && password == "": // so some clients say that they have none
	case basic:
		q.guessed, q.name, q.password = true, name, password
		anew := http.Request{Header: http.Header{}}
		anew.SetBasicAuth(name, password)
		q.Authorization = anew.Header.Get("Authorization")
	case text != "":
		q.Authorization = bearerScheme + text
	default:
		return q, ErrCredentials
	}
	q.Fields, err = only(r.URL.Query(), "scope", "account", "client_id", "offline_token")
	return q, err
}

// postOf reads a POST with a form: credentials are there, as its grant has them.
func postOf(r *http.Request, form url.Values) (q tokenRequest, err error) {
	if len(r.Header["Authorization"]) > 0 {
		return q, fmt.Errorf("%w by a POST with Authorization: send GET, or the password in the form", ErrTokenRequest)
	}
	if _, err := only(r.URL.Query()); err != nil {
		return q, err
	}
	var needed []string
	switch grant := form.Get("grant_type"); grant {
	case "password":
		needed = []string{"username", "password"}
		q.guessed, q.name, q.password = true, form.Get("username"), form.Get("password")
	case "refresh_token":
		needed = []string{"refresh_token"}
	default:
		return q, fmt.Errorf("%w for grant_type %.20q: it is password or refresh_token", ErrTokenRequest, grant)
	}
	for _, name := range needed {
		if !form.Has(name) {
			return q, fmt.Errorf("%w without %s, which the grant_type needs", ErrTokenRequest, name)
		}
	}
	q.Post = true
	q.Fields, err = only(form, append(needed, "grant_type", "scope", "client_id", "access_type")...)
	return q, err
}

// only keeps the fields of some names, each of which but scope is there once. What else there is no token service is told, and
// it fails if that could be credentials.
func only(fields url.Values, names ...string) (url.Values, error) {
	kept := url.Values{}
	for name, values := range fields {
		switch {
		case !slices.Contains(names, name):
			if slices.ContainsFunc(credentials(), func(c string) bool { return strings.EqualFold(c, name) }) {
				return nil, fmt.Errorf("%w with %.20q there: send a name and a password as Basic with GET, or as username and password in the form with grant_type=password", ErrTokenRequest, name)
			}
		case len(values) > 1 && name != "scope":
			return nil, fmt.Errorf("%w with several %s: give one", ErrTokenRequest, name)
		default:
			kept[name] = values
		}
	}
	return kept, nil
}

// credentials are the fields in which a token service may look for some.
func credentials() []string {
	return []string{
		"username", "password", "client_secret", "refresh_token", "access_token", "assertion", "client_assertion", "code", "device_code", "token", "id_token",
	}
}
