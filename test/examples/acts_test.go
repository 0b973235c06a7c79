package examples_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/seed-16d79997/zot/test/e2e/harness"
)

// acts looks for what the sections of the example do, those that are built.
func (m *moved) acts(t *testing.T, n *harness.Node) {
	t.Helper()
	for _, who := range m.people.known {
		greets(t, n, who, http.StatusOK)
	}
	if built(m.config, "http.auth.bearer") {
		m.namesTheOther(t, n)
	}
	if built(m.config, "http.auth.openid") {
		m.sendsAway(t, n)
	}
	if built(m.config, "http.ratelimit") {
		m.holdsBack(t, n)
	}
	if built(m.config, "log.audit") {
		m.writesDown(t)
	}
}

// namesTheOther sees to it that clients are sent to the other token service.
func (m *moved) namesTheOther(t *testing.T, n *harness.Node) {
	t.Helper()
	s := m.config.in("http", "auth", "bearer")
	err := asks(n, visits(t, n, "/v2/"+m.repositories[0]+"/tags/list", visitor{}), http.StatusUnauthorized, func(r *http.Response) error {
		told := r.Header.Get("WWW-Authenticate")
		for _, part := range []string{
			"Bearer ", fmt.Sprintf("realm=%q", s.text("realm")), fmt.Sprintf("service=%q", s.text("service")), fmt.Sprintf("scope=%q", "repository:"+m.repositories[0]+":pull"),
		} {
			if !strings.Contains(told, part) {
				return fmt.Errorf("the challenge is %q, without %q", told, part)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// issuer stands for the providers of a section "openid" that are found by their address.
type issuer struct{ url string }

// openid runs one.
func (m *moved) openid(t *testing.T, s section) *issuer {
	t.Helper()
	i := &issuer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, is := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration")
		if !is {
			_, _ = w.Write([]byte(`{"keys": []}`)) // it signs nothing here
			return
		}
		at := i.url + path
		_ = json.NewEncoder(w).Encode(map[string]any{ // the node complains if it is cut short
			"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/token", "jwks_uri": at + "/keys",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	}))
	t.Cleanup(server.Close)
	i.url = server.URL
	for name, p := range s.in("providers") {
		provider := section(p.(map[string]any))
		provider.replace("issuer", i.url+"/"+name)
		m.secrets = append(m.secrets, provider.text("clientsecret"))
	}
	return i
}

// sendsAway sees to it that whoever logs in is sent to the provider.
func (m *moved) sendsAway(t *testing.T, n *harness.Node) {
	t.Helper()
	for name, p := range m.config.in("http", "auth", "openid", "providers") {
		provider := section(p.(map[string]any))
		to, nonce := m.issuer.url, true
		if provider.text("issuer") == "" { // that gives no identity tokens
			to, nonce = "https://github.com/", false
		}
		err := asks(n, visits(t, n, "/zot/auth/login?provider="+url.QueryEscape(name), visitor{}), http.StatusFound, func(r *http.Response) error {
			at, err := r.Location()
			if err != nil {
				return err
			}
			q := at.Query()
			if !strings.HasPrefix(at.String(), to) || q.Get("client_id") != provider.text("clientid") || q.Get("state") == "" ||
				q.Get("code_challenge_method") != "S256" || (q.Get("nonce") != "") != nonce {
				return fmt.Errorf("%s: the browser is sent to %s", name, at)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// holdsBack sees to it that whoever asks too often is told when to ask again.
func (m *moved) holdsBack(t *testing.T, n *harness.Node) {
	t.Helper()
	var all sync.WaitGroup
	answers := make(chan error, 40)
	for range cap(answers) {
		request := visits(t, n, "/v2/", visitor{})
		all.Go(func() {
			answers <- asks(n, request, http.StatusTooManyRequests, func(r *http.Response) error {
				if r.Header.Get("Retry-After") == "" {
					return errors.New("429 without Retry-After")
				}
				return nil
			})
		})
	}
	all.Wait()
	close(answers)
	last := errors.New("nothing was asked")
	for err := range answers {
		if err == nil {
			return
		}
		last = err
	}
	t.Errorf("nobody of %d is held back: %v", cap(answers), last)
}

// writesDown sees to it that pushes are in the audit log.
func (m *moved) writesDown(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(m.audit)
	if err != nil {
		t.Error(err)
		return
	}
	for _, repository := range m.repositories {
		if !strings.Contains(string(text), "/v2/"+repository+"/manifests/1") {
			t.Errorf("the audit log says nothing of the push to %s:\n%s", repository, text)
		}
	}
	lines(t, string(text))
}
