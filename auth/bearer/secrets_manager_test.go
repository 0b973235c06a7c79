package bearer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/auth/bearer"
)

// secretsManager speaks its protocol, to whoever signs as it has to be.
type secretsManager struct {
	t *testing.T

	mu     sync.Mutex
	secret map[string]any // the answer
	refuse string         // code of an error
	asked  []string       // for which secrets
}

const (
	accessKey    = "AKIDEXAMPLE"
	secretKey    = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
	sessionToken = "a-token-of-a-session"
)

// newSecretsManager runs one until the test ends, at the place that the environment says.
func newSecretsManager(t *testing.T) *secretsManager {
	t.Helper()
	m := &secretsManager{t: t}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_SECRETS_MANAGER": server.URL, "AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey, "AWS_SESSION_TOKEN": sessionToken,
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	return m
}

// signed reports whether a request is signed for the service in a region, with our keys, over all that it says it is.
func (*secretsManager) signed(r *http.Request, body []byte) bool {
	anew, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.String(), bytes.NewReader(body))
	at, failed := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if errors.Join(err, failed) != nil {
		return false
	}
	given := r.Header.Get("Authorization")
	_, names, _ := strings.Cut(given, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	for name := range strings.SplitSeq(names, ";") {
		if values := r.Header.Values(name); len(values) > 0 && name != "x-amz-date" {
			anew.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey, SessionToken: sessionToken}, anew,
		hex.EncodeToString(sum[:]), "secretsmanager", "eu-central-1", at)
	return err == nil && anew.Header.Get("Authorization") == given
}

// answers changes how it does from now on.
func (m *secretsManager) answers(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *secretsManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	asked := struct{ SecretId string }{} //nolint:revive // it is called so
	if failed := json.Unmarshal(body, &asked); errors.Join(err, failed) != nil || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" {
		m.t.Errorf("%s %s", r.Header.Get("X-Amz-Target"), body)
	}
	m.asked = append(m.asked, asked.SecretId)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	refuse := m.refuse
	if !m.signed(r, body) {
		refuse = "InvalidSignatureException"
	}
	switch {
	case refuse == "elsewhere":
		http.Redirect(w, r, "http://"+r.Host+"/elsewhere", http.StatusFound)
	case refuse != "": // as it does, with what was sent
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"__type": refuse, "message": "The Canonical String should have been x-amz-security-token:" + r.Header.Get("X-Amz-Security-Token")})
	default:
		_ = json.NewEncoder(w).Encode(m.secret)
	}
}

// TestKeysInSecretsManager has tokens by keys that are in AWS.
func TestKeysInSecretsManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newSecretsManager(t)
		now, all := time.Now(), pairs()
		var log strings.Builder
		open := func() *bearer.Verifier {
			v := must(bearer.Open(bearer.Config{
				Realm: "https://tokens.example", Service: "registry", Secret: &bearer.Secret{Region: "eu-central-1", Name: "zot/keys", Refresh: time.Minute},
				Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace}),
			}))
			t.Cleanup(v.Close)
			return v
		}
		by := func(id, kind string, algorithm jose.SignatureAlgorithm) string {
			options := &jose.SignerOptions{}
			if id != "" {
				options.WithHeader("kid", id)
			}
			return said(t, all[kind], algorithm, options, claims(now, nil))
		}
		m.secret = map[string]any{"Name": "zot/keys", "SecretString": string(must(json.Marshal(map[string]string{
			"one": inPEM(all["RSA"]), "two": string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: all["P-256"].Public()}}}))), "three": inPEM(all["Ed25519"]),
			"narrow": string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: all["RSA"].Public(), Algorithm: "PS384"}}}))),
		})))}
		v := open()
		for name, test := range map[string]struct {
			text string
			good bool
		}{
			"the first key":               {by("one", "RSA", jose.PS512), true},
			"the second":                  {by("two", "P-256", jose.ES256), true},
			"the third":                   {by("three", "Ed25519", jose.EdDSA), true},
			"what it is for":              {by("narrow", "RSA", jose.PS384), true},
			"what it is not for":          {by("narrow", "RSA", jose.RS256), false},
			"no key":                      {by("", "RSA", jose.RS256), false},
			"an unknown key":              {by("four", "RSA", jose.RS256), false},
			"another's name":              {by("one", "P-256", jose.ES256), false},
			"a public key for a secret":   {said(t, []byte(inPEM(all["RSA"])), jose.HS256, (&jose.SignerOptions{}).WithHeader("kid", "one"), claims(now, nil)), false},
			"a name in the wrong case":    {by("ONE", "RSA", jose.RS256), false},
			"a name that is not its keys": {by("two", "RSA", jose.RS256), false},
		} {
			c, err := v.Verify(t.Context(), test.text, now)
			if (err == nil) != test.good || err != nil && !errors.Is(err, bearer.ErrInvalid) || test.good && c.Subject != "alice" {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
		}
		m.answers(func() {
			if len(m.asked) != 1 || m.asked[0] != "zot/keys" {
				t.Errorf("asked for %q", m.asked)
			}
		})

		good := by("one", "RSA", jose.RS256)
		told := func(what string, wants ...string) {
			t.Helper()
			_, err := open().Verify(t.Context(), good, now)
			if err == nil || errors.Is(err, bearer.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
				return
			}
			for _, want := range wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %s", what, err, want)
				}
			}
			for _, secret := range []string{sessionToken, secretKey, accessKey, "Canonical"} {
				if strings.Contains(err.Error()+log.String(), secret) {
					t.Errorf("%s: %q is told: %v\n%s", what, secret, err, &log)
				}
			}
		}
		m.answers(func() { m.refuse = "AccessDeniedException" })
		told("no right to it", `refuses with "AccessDeniedException"`)
		m.answers(func() { m.refuse = "elsewhere" })
		told("a redirection")
		m.answers(func() {
			if len(m.asked) != 3 {
				t.Errorf("a redirection is followed: %q", m.asked)
			}
			m.refuse = ""
		})
		for what, secret := range map[string]map[string]any{"bytes": {"SecretBinary": []byte("x")}, "no object": {"SecretString": "hunter2"}, "nothing": {}} {
			m.answers(func() { m.secret = secret })
			told(what, "the secret")
		}
		t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
		told("a wrong signature", "InvalidSignatureException")
		t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
		told("AWS is down", "connection refused")
		t.Setenv("AWS_PROFILE", "missing")
		if _, err := bearer.Open(bearer.Config{Secret: &bearer.Secret{Region: "r", Name: "n", Refresh: time.Minute}}); err == nil || !strings.Contains(err.Error(), "credentials for AWS") {
			t.Errorf("a profile that is missing: %v", err)
		}
	})
}
