package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-16d79997/zot/auth"
)

// away is a method that is out of reach.
type away struct{}

func (away) Verify(context.Context, string, string) ([]string, error) {
	return nil, errors.New(`ask LDAP server ldap.internal:636: bind as "cn=zot,dc=internal": connection refused`)
}

// Whoever is not known is not told how this registry finds out who somebody is, nor why it cannot.
func TestWhyItCannotBeToldIsNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.gated(auth.Config{Methods: []auth.Method{away{}}})
	for _, path := range []string{"/v2/", "/v2/a/b/tags/list"} {
		answer := send(t, g, call{method: http.MethodGet, path: path, header: []string{as("alice")}})
		comesAgain(t, answer, http.StatusServiceUnavailable)
		if text := answer.Body.String(); strings.Contains(text, "internal") || strings.Contains(text, "LDAP") || !strings.Contains(text, "who asks") {
			t.Errorf("%s: %s", path, text)
		}
	}
}
