package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates of clients.
type authority struct {
	pem  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}}
	own := a.sign(t, a.cert)
	var err error
	if a.cert, err = x509.ParseCertificate(own.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	a.key = own.PrivateKey.(*ecdsa.PrivateKey) //nolint:forcetypeassert // sign makes it
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}))
	return a
}

// sign makes a certificate with a key of its own. While the authority has none, it signs itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client is a certificate of somebody, with a change to what is usual.
func (a *authority) client(t *testing.T, name string, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(c)
	}
	return a.sign(t, c)
}

// showing is a client of a server that shows a certificate, whatever the server asks for.
func showing(t *testing.T, server keyPair, shown tls.Certificate) *http.Client {
	t.Helper()
	return trusting(t, server, func(c *tls.Config) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
	})
}

// Where everybody has to show a certificate, whoever has none can ask for the node's health, and for nothing else.
func TestHealthWithoutACertificate(t *testing.T) {
	t.Parallel()
	files, server, ours, theirs := tlsFiles(t), pair(t, 1), newAuthority(t), newAuthority(t)
	server.in(t, files)
	ca, file := filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "config.json")
	put(t, ca, ours.pem)
	port := freePorts(t, 1)[0]
	put(t, file, fmt.Sprintf(`{"storage": {"rootDirectory": %q}, "http": {"port": %q, "tls": {"cert": %q, "key": %q, "cacert": %q}, "auth": {"apikey": true}},
		"extensions": {"search": {}, "mgmt": {}}}`, shortDir(t), port, files.Cert, files.Key, ca))
	ready(t, file, nil)
	url := "https://127.0.0.1:" + port

	over := func(text string) []rawAnswer {
		t.Helper()
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(server.cert))
		d := tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}}
		return rawBy(t, d.DialContext, port, text)
	}
	for target, want := range map[string]int{
		"/livez": 200, "/startupz": 200, "/readyz": 200, "/readyz?for=write": 200, "/readyz?for=nothing": 400, url + "/livez": 200, "/liv%65z": 200,

		"/v2/": 401, "/v2": 401, "/v2/_catalog": 401, "/v2/team/app/tags/list": 401, "/v2/team/app/manifests/v1": 401, "/v2/team/app/blobs/uploads/": 401,
		"/v2/_zot/ext/mgmt": 401, "/v2/_oci/ext/discover": 401, "/v2/_zot/ext/userprefs": 401, "/v2/_zot/ext/apikey": 401, "/zot/auth/apikey": 401,
		"/zot/auth/token": 401, "/zot/auth/login": 401, "/zot/auth/logout": 401, "/auth/logout": 401, "/auth/login": 401, "/auth/callback/oidc": 401,
		"/metrics": 401, "/": 401, "/nowhere": 401, "*": 401, "/node/status": 401,

		"/livez/": 401, "//livez": 401, "/livez/../v2/": 401, "/livez%2f..%2fv2%2f": 401, "/livez/..": 401, "/./livez": 401, "/v2/../livez": 401, "/LIVEZ": 401,
		"/livez;/v2/": 401, "/livez%00": 401, "/livez%20": 401, "/livez%3f": 401, "/livez%2f": 401, "/%2flivez": 401, "/readyz/v2/": 401, "/v2/livez": 401,
		"https://livez/v2/": 401, "//livez/v2/": 401, "/v2/?/livez": 401,
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"} {
			want, words := want, ""
			if method != "GET" && method != "HEAD" {
				want = 401
			}
			if want == 401 && method != "HEAD" {
				words = "a client certificate is needed here"
			}
			all := over(method + " " + target + " HTTP/1.1\r\nHost: zot\r\nX-HTTP-Method-Override: GET\r\nOrigin: https://evil.example\r\n" + rawAs("alice") + last + "\r\n")
			if len(all) != 1 || all[0].status != want || !strings.Contains(all[0].body, words) || want == 401 && all[0].header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s %s: %v, want %d", method, target, all, want)
			}
		}
	}
	// The second request of a connection is judged as the first, and there is none behind one that was refused.
	for text, want := range map[string][]int{
		"GET /livez HTTP/1.1\r\nHost: zot\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: zot\r\n\r\nGET /livez HTTP/1.1\r\nHost: zot\r\n\r\n": {200, 401},
		"POST /livez HTTP/1.1\r\nHost: zot\r\nContent-Length: 100\r\n\r\n":                                                       {401}, // nobody waits for it
	} {
		all := over(text)
		if len(all) != len(want) {
			t.Errorf("%q: %v", text, all)
			continue
		}
		for n, answer := range all {
			if answer.status != want[n] {
				t.Errorf("%q: %v", text, all)
			}
		}
	}

	ask := func(c *http.Client, path string) reply { return replyOf(t, c, http.MethodGet, url+path, http.NoBody) }
	without := trusting(t, server, nil)
	for _, path := range []string{"/livez", "/v2/", "/readyz", "/v2/_catalog", "/livez"} {
		want := http.StatusOK
		if strings.HasPrefix(path, "/v2/") {
			want = http.StatusUnauthorized
		}
		if got := ask(without, path); got.code != want || got.proto != "HTTP/2.0" {
			t.Errorf("%s without a certificate, over HTTP/2: %+v", path, got)
		}
	}
	alice := showing(t, server, ours.client(t, "alice", nil))
	for _, path := range []string{"/livez", "/v2/", "/v2/_catalog", "/v2/_zot/ext/mgmt"} {
		if got := ask(alice, path); got.code != http.StatusOK {
			t.Errorf("%s as alice: %+v", path, got)
		}
	}
	if got := ask(alice, "/v2/_zot/ext/mgmt"); !strings.Contains(got.body, `"auth":{"apikey":true}`) {
		t.Errorf("what pages must know: %s", got.body)
	}
	for who, shown := range map[string]tls.Certificate{
		"another's alice":    theirs.client(t, "alice", nil),
		"alice of yesterday": ours.client(t, "alice", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"alice of tomorrow":  ours.client(t, "alice", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }),
		"alice, a server":    ours.client(t, "alice", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
	} {
		for _, path := range []string{"/livez", "/v2/"} {
			if got := ask(showing(t, server, shown), path); got.code != 0 {
				t.Errorf("%s as %s: %+v", path, who, got)
			}
		}
	}
	// A session of TLS that is taken up again is as the one that it was.
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		shown := ours.client(t, "alice", nil)
		for show, want := range map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized} {
			c := trusting(t, server, func(c *tls.Config) {
				c.MaxVersion, c.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
				if show {
					c.Certificates = []tls.Certificate{shown}
				}
			})
			for again := range 3 {
				var resumed bool
				trace := &httptrace.ClientTrace{TLSHandshakeDone: func(s tls.ConnectionState, _ error) { resumed = s.DidResume }}
				r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, url+"/v2/", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := c.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = answer.Body.Close()
				c.CloseIdleConnections()
				if answer.StatusCode != want || resumed != (again > 0) {
					t.Errorf("TLS %x, certificate %t, resumed %t: %d", version, show, resumed, answer.StatusCode)
				}
			}
		}
	}

	// A layer is not even asked for.
	sent := &heldBody{begun: make(chan struct{}), rest: make(chan struct{})}
	close(sent.rest)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v2/team/app/blobs/uploads/", sent)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Expect", "100-continue")
	once := trusting(t, server, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
	transport := once.Transport.(*http.Transport) //nolint:forcetypeassert // trusting makes it one
	transport.ForceAttemptHTTP2, transport.ExpectContinueTimeout = false, patience
	answer, err := once.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized || sent.n != 0 {
		t.Errorf("status %d, read %d times", answer.StatusCode, sent.n)
	}
	log, err := os.ReadFile(file + ".log")
	if err != nil || !strings.Contains(string(log), "statusCode=401") {
		t.Errorf("the log has no line of what was refused: %v", err)
	}
}
