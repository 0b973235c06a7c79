package ext_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-16d79997/zot/auth"
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/fsm"
)

// ruled has root as the administrator, ops to look, and everybody with a name to pull what is below a.
func ruled(t *testing.T) *world {
	t.Helper()
	rules, err := access.Compile(access.Config{
		Repositories: map[string]access.Repository{"a/**": {Default: access.Read}},
		Admin:        access.Policy{Users: []string{"root"}, Actions: access.Read | access.Create | access.Update | access.Delete},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newWorldWith(t, func(c *auth.Config) { c.Rules = rules })
}

// publicKey is one of cosign, and certificate one of notation, in PEM and in DER.
func publicKey(t *testing.T) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func certificate(t *testing.T) (text, der string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	b, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b})), string(b)
}

type listed struct {
	Keys []struct{ Digest, TruststoreType, TruststoreName, Content, AddedBy string }
}

func (w *world) listed(tool string) (l listed) {
	w.t.Helper()
	got := w.do(call{method: "GET", path: "/v2/_zot/ext/" + tool, name: "root"})
	if err := json.Unmarshal(got.Body.Bytes(), &l); err != nil || got.Code != http.StatusOK {
		w.t.Fatalf("%s: %d %s", tool, got.Code, got.Body)
	}
	return l
}

func TestKeysAreTrusted(t *testing.T) {
	t.Parallel()
	w := ruled(t)
	key := publicKey(t)
	for _, path := range []string{"/v2/_zot/ext/cosign", "/v2/_zot/ext/mgmt?resource=signatures&tool=cosign"} { // the second one changes nothing
		if got := w.do(call{method: "POST", path: path, name: "root", body: key}); got.Code != http.StatusOK || got.Body.String() != `{"digest":"`+digest.FromString(key).String()+`"}` {
			t.Fatalf("%s: %d %s", path, got.Code, got.Body)
		}
	}
	if l := w.listed("cosign"); len(l.Keys) != 1 || l.Keys[0].Content != key || l.Keys[0].AddedBy != "root" || l.Keys[0].Digest != digest.FromString(key).String() || l.Keys[0].TruststoreType != "" {
		t.Errorf("listed: %+v", l)
	}

	text, der := certificate(t)
	for path, want := range map[string][2]string{
		"/v2/_zot/ext/notation":                                                                              {"ca", "default"},
		"/v2/_zot/ext/notation?truststoreType=signingAuthority":                                              {"signingAuthority", "default"},
		"/v2/_zot/ext/notation?truststoreType=tsa&truststoreName=x":                                          {"tsa", "x"},
		"/v2/_zot/ext/mgmt?resource=signatures&tool=notation&truststoreName=my.Store_1-a":                    {"ca", "my.Store_1-a"},
		"/v2/_zot/ext/mgmt?resource=signatures&tool=notation&truststoreName=y&truststoreType=tsa&more=a%00b": {"tsa", "y"},
	} {
		if got := w.do(call{method: "POST", path: path, name: "root", body: text}); got.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, got.Code, got.Body)
		}
		found := false
		for _, k := range w.listed("notation").Keys {
			found = found || k.TruststoreType == want[0] && k.TruststoreName == want[1] && k.Content == text
		}
		if !found {
			t.Errorf("%s: %v is not listed", path, want)
		}
	}
	if got := w.do(call{method: "POST", path: "/v2/_zot/ext/notation", name: "root", body: der}); got.Code != http.StatusOK {
		t.Fatalf("DER: %d %s", got.Code, got.Body)
	}
	shown := 0
	for _, k := range w.listed("notation").Keys {
		if k.Content == text {
			shown++
		}
	}
	if shown != 6 {
		t.Errorf("%d of 6 certificates are shown in PEM", shown)
	}

	gone := call{method: "DELETE", path: "/v2/_zot/ext/notation?digest=" + digest.FromString(text).String(), name: "root"}
	for _, want := range []int{http.StatusOK, http.StatusNotFound} {
		if got := w.do(gone); got.Code != want {
			t.Errorf("%d %s, want %d", got.Code, got.Body, want)
		}
	}
	if l := w.listed("notation"); len(l.Keys) != 1 || l.Keys[0].Digest != digest.FromString(der).String() {
		t.Errorf("left: %+v", l)
	}
	w.stale = true
	if got := w.do(call{method: "GET", path: "/v2/_zot/ext/cosign", name: "root"}); got.Header().Get("X-Zot-Consistency") != "stale" {
		t.Error("without a quorum the list is not marked stale")
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	w := ruled(t)
	key := publicKey(t)
	text, _ := certificate(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	secret := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	const cosign, notation, mgmt = "/v2/_zot/ext/cosign", "/v2/_zot/ext/notation", "/v2/_zot/ext/mgmt?resource=signatures"
	for name, c := range map[string]struct {
		call   call
		status int
	}{
		"nobody":                  {call{method: "POST", path: cosign, body: key}, 401},
		"nobody, older":           {call{method: "POST", path: mgmt + "&tool=cosign", body: key}, 401},
		"no administrator":        {call{method: "POST", path: cosign, name: "ann", body: key}, 403},
		"no administrator, older": {call{method: "POST", path: mgmt + "&tool=cosign", name: "ann", body: key}, 403},
		"a list for no one":       {call{method: "GET", path: cosign, name: "ann"}, 403},
		"a removal by no one":     {call{method: "DELETE", path: cosign + "?digest=" + digest.FromString(key).String(), name: "ann"}, 403},
		"nothing":                 {call{method: "POST", path: cosign, name: "root"}, 400},
		"no key":                  {call{method: "POST", path: cosign, name: "root", body: "key"}, 400},
		"a certificate as a key":  {call{method: "POST", path: cosign, name: "root", body: text}, 400},
		"a private key":           {call{method: "POST", path: cosign, name: "root", body: secret}, 400},
		"a private key, notation": {call{method: "POST", path: notation, name: "root", body: text + secret}, 400},
		"a key as a certificate":  {call{method: "POST", path: notation, name: "root", body: key}, 400},
		"too large":               {call{method: "POST", path: cosign, name: "root", body: key + strings.Repeat("\n", 64<<10)}, 413},
		"no such store":           {call{method: "POST", path: notation + "?truststoreType=root", name: "root", body: text}, 400},
		"no store":                {call{method: "POST", path: notation + "?truststoreType=", name: "root", body: text}, 400},
		"a way out":               {call{method: "POST", path: notation + "?truststoreName=..", name: "root", body: text}, 400},
		"a path":                  {call{method: "POST", path: notation + "?truststoreName=a/b", name: "root", body: text}, 400},
		"no name":                 {call{method: "POST", path: notation + "?truststoreName=", name: "root", body: text}, 400},
		"no name, older":          {call{method: "POST", path: mgmt + "&tool=notation", name: "root", body: text}, 400},
		"no tool":                 {call{method: "POST", path: mgmt, name: "root", body: key}, 400},
		"another tool":            {call{method: "POST", path: mgmt + "&tool=gpg", name: "root", body: key}, 400},
		"another resource":        {call{method: "POST", path: "/v2/_zot/ext/mgmt?tool=cosign", name: "root", body: key}, 400},
		"another method":          {call{method: "PUT", path: mgmt + "&tool=cosign", name: "root", body: key}, 405},
		"no digest":               {call{method: "DELETE", path: cosign, name: "root"}, 400},
		"half a digest":           {call{method: "DELETE", path: cosign + "?digest=sha256:12", name: "root"}, 400},
	} {
		got := w.do(c.call)
		if got.Code != c.status || strings.Contains(got.Body.String(), strings.Split(secret, "\n")[1]) {
			t.Errorf("%s: %d %s, want %d", name, got.Code, got.Body, c.status)
		}
	}
	if l := w.listed("cosign"); len(l.Keys) != 0 {
		t.Errorf("trusted: %+v", l)
	}
	if l := w.listed("notation"); len(l.Keys) != 0 {
		t.Errorf("trusted: %+v", l)
	}
}

// By a key or token that is for some repositories nobody is an administrator.
func TestNoAdministratorByWhatIsForSome(t *testing.T) {
	t.Parallel()
	w := ruled(t)
	keyWith := func(body string) string {
		var made struct{ APIKey string }
		if err := json.Unmarshal(w.do(call{method: "POST", path: ours, name: "root", body: body}).Body.Bytes(), &made); err != nil || made.APIKey == "" {
			t.Fatal("no API key was made")
		}
		return made.APIKey
	}
	key := publicKey(t)
	post := func(password string, header ...string) int {
		c := call{method: "POST", path: "/v2/_zot/ext/cosign", body: key, header: header}
		if password != "" {
			c.name, c.password = "root", password
		}
		return w.do(c).Code
	}
	var made struct{ Token string }
	got := w.do(call{method: "GET", path: "/zot/auth/token?service=r&scope=" + url.QueryEscape("repository:a/b:pull,push,delete"), name: "root"})
	if err := json.Unmarshal(got.Body.Bytes(), &made); err != nil || made.Token == "" {
		t.Fatalf("no token: %d %s", got.Code, got.Body)
	}
	if status := post("", "Authorization: Bearer "+made.Token); status != http.StatusForbidden {
		t.Errorf("token: %d", status)
	}
	if status := post(keyWith(`{"scopes": ["**"]}`)); status != http.StatusForbidden {
		t.Errorf("API key with scopes: %d", status)
	}
	if status := post(keyWith(`{}`)); status != http.StatusOK {
		t.Errorf("API key: %d", status)
	}
}

func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	w := ruled(t)
	for i := range 100 {
		if _, err := fsm.Do(t.Context(), w, fsm.TrustKey{Tool: fsm.Cosign, Content: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	got := w.do(call{method: "POST", path: "/v2/_zot/ext/cosign", name: "root", body: publicKey(t)})
	if got.Code != http.StatusConflict || !strings.Contains(got.Body.String(), "take some back") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}
