package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// signing is a key of a service elsewhere, with the file of its public half.
func signing(t *testing.T) (key *ecdsa.PrivateKey, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public = filepath.Join(t.TempDir(), "key.pem")
	put(t, public, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	return key, public
}

// bearing is a header with a token of some claims.
func bearing(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) []string {
	t.Helper()
	claims["exp"] = time.Now().Add(time.Hour).Unix()
	return []string{bearingScheme + signedBy(t, key, claims)}
}

// signedBy is a token of some claims.
func signedBy(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	text, failed := jwt.Signed(signer).Claims(claims).Serialize()
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return text
}

// issuing is an issuer of tokens for workloads, until the test ends.
func issuing(t *testing.T) (key *ecdsa.PrivateKey, url string) {
	t.Helper()
	key, _ = signing(t)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := "http://" + r.Host
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/keys" {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: "1", Key: key.Public()}}})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": at, "jwks_uri": at + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}})
	}))
	t.Cleanup(issuer.Close)
	return key, issuer.URL
}

const bearingScheme = "Authorization: Bearer "

// exchanged has clients that know passwords alone give a workload's token as one, and get it back for what it is. That of a
// token service is none to log in with.
func exchanged(t *testing.T, node, workload, other string) {
	t.Helper()
	service := node + "/zot/auth/token?service=zot&scope=repository:team/app:pull"
	answers := []heard{wish{method: "GET", url: service, name: "any", password: workload}.must(t, 200), wish{method: "POST", url: service, name: "any", password: workload}.must(t, 200)}
	for _, form := range []string{"grant_type=password&username=any&password=" + workload, "grant_type=refresh_token&refresh_token=" + workload} {
		answers = append(answers, wish{method: "POST", url: service, body: form}.must(t, 200))
	}
	for _, answer := range answers {
		got := struct {
			Token     string `json:"token"`
			Access    string `json:"access_token"`
			ExpiresIn int    `json:"expires_in"`
		}{}
		if err := json.Unmarshal([]byte(answer.body), &got); err != nil || got.Token != workload || got.Access != workload || got.ExpiresIn < 3000 || got.ExpiresIn > 3600 {
			t.Errorf("%s: %v", answer.body, err)
		}
	}
	for _, password := range []string{"", "wrong", other} {
		answer := wish{method: "GET", url: service, name: "any", password: password}.must(t, 401)
		if got := answer.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
			t.Errorf("the challenge is %q", got)
		}
		wish{method: "POST", url: service, body: "grant_type=password&password=" + password}.must(t, 401)
	}
	wish{method: "POST", url: service, body: "%"}.must(t, 400)
	wish{method: "PUT", url: service}.must(t, 405)
}

// TestTokensOfOthersOnThreeNodes has an upload go from node to node by a workload's token, whose claims a condition asks
// wherever it is answered, and by a token service's, which decides alone.
func TestTokensOfOthersOnThreeNodes(t *testing.T) {
	t.Parallel()
	key, file := signing(t)
	issuers, url := issuing(t)
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	put(t, passwords, htpasswdLine(t, "alice"))
	at, _, _, _ := threeWith(t, fmt.Sprintf(`, "auth": {"htpasswd": {"path": %q}, "bearer": {"realm": "https://auth.example/token", "service": "zot", "cert": %q,
		"oidc": [{"issuer": %q, "audiences": ["zot"], "claimMapping": {"username": "'ci:' + claims.sub"}}]}}, "accessControl": {"repositories": {"**": {"policies": [
			{"users": ["ci:build", "alice"], "actions": ["read", "create"], "conditions": [{"expression": "req.claims.repository == req.repository", "message": "of another repository"}]}]}}}},
		"extensions": {"mgmt": {}`, passwords, file, url))
	workload := bearing(t, issuers, map[string]any{"iss": url, "aud": "zot", "sub": "build", "repository": "team/app"})
	pusher := bearing(t, key, map[string]any{"sub": "x", "access": []any{map[string]any{"type": "repository", "name": "team/other", "actions": []string{"pull", "push"}}}})
	for n := range at {
		for repository, header := range map[string][]string{"team/app": workload, "team/other": pusher} {
			begun := wish{method: "POST", url: at[n] + "/v2/" + repository + "/blobs/uploads/", header: header}.must(t, 202).header.Get("Location")
			for m, step := range []wish{{method: "PATCH", body: "a"}, {method: "PATCH", body: "b"}, {method: "GET"}, {method: "DELETE"}} {
				step.url, step.header = at[(n+m)%3]+begun, header
				if heard := step.settled(t); heard.status/100 != 2 {
					t.Errorf("%s of an upload to %s: %d %s", step.method, repository, heard.status, heard.body)
				} else if next := heard.header.Get("Location"); next != "" {
					begun = next
				}
			}
		}
		refused := wish{method: "POST", url: at[n] + "/v2/team/other/blobs/uploads/", header: workload}.must(t, 403).body
		if !strings.Contains(refused, "is denied: of another repository") {
			t.Errorf("a condition says %s", refused)
		}
		wish{method: "POST", url: at[n] + "/v2/team/app/blobs/uploads/", header: pusher}.must(t, 401)
		wish{method: "GET", url: at[n] + "/v2/", name: "alice", password: "alice"}.must(t, 401) // htpasswd is off
		wish{method: "GET", url: at[n] + "/v2/"}.must(t, 401)
		exchanged(t, at[n], strings.TrimPrefix(workload[0], bearingScheme), strings.TrimPrefix(pusher[0], bearingScheme))
		if shown := (wish{method: "GET", url: at[n] + "/v2/_zot/ext/mgmt"}).must(t, 200).body; !strings.Contains(shown, `"auth":{"bearer":{"realm":"https://auth.example/token","service":"zot"}}`) {
			t.Errorf("mgmt shows %s", shown)
		}
	}
	for _, header := range [][]string{workload, pusher} {
		logged(t, strings.TrimPrefix(header[0], bearingScheme))
	}
}
