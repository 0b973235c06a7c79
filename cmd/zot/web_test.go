package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// keyPair is a certificate with its key, in PEM.
type keyPair struct{ cert, key string }

// pair makes a key pair for 127.0.0.1 that signs itself, and tells it apart by its number.
func pair(t *testing.T, number int64) keyPair {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	return keyPair{inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", pkcs8)}
}

// in writes the pair into the files of t.
func (p keyPair) in(t *testing.T, files config.ServerTLS) {
	t.Helper()
	put(t, files.Cert, p.cert)
	put(t, files.Key, p.key)
}

func (p keyPair) loaded(t *testing.T) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair([]byte(p.cert), []byte(p.key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tlsFiles are names for the files of http.tls.
func tlsFiles(t *testing.T) config.ServerTLS {
	t.Helper()
	dir := t.TempDir()
	return config.ServerTLS{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
}

// protocol answers with the version of HTTP that it was asked in.
func protocol(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }

// serving answers at any port of 127.0.0.1 until the test ends.
func serving(t *testing.T, c config.HTTP, log hclog.Logger) *clientListener {
	t.Helper()
	c.Address = "127.0.0.1"
	l, err := listenHTTP(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(http.HandlerFunc(protocol), log)
	served := make(chan error, 1)
	go func() { served <- l.serve(t.Context(), server, log) }() // waited for by shutDown
	t.Cleanup(func() {
		if err := shutDown(context.WithoutCancel(t.Context()), server, served, patience); err != nil { // the test's own has ended
			t.Error(err)
		}
	})
	return l
}

// trusting is a client of a server with that certificate. It keeps its connections until the test ends.
func trusting(t *testing.T, server keyPair, change func(*tls.Config)) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(server.cert))
	c := &tls.Config{RootCAs: pool}
	if change != nil {
		change(c)
	}
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// told is what a server answers at "/", and the number of its certificate.
func told(t *testing.T, client *http.Client, l net.Listener) (body string, number int64, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String()+"/", http.NoBody)
	if err != nil {
		return "", 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close() //nolint:errcheck // nothing is written to it
	b, err := io.ReadAll(response.Body)
	return string(b), response.TLS.PeerCertificates[0].SerialNumber.Int64(), err
}

func TestTLSVersions(t *testing.T) {
	t.Parallel()
	files, one := tlsFiles(t), pair(t, 1)
	one.in(t, files)
	l := serving(t, config.HTTP{TLS: files}, hclog.NewNullLogger())
	for name, test := range map[string]struct {
		change func(*tls.Config)
		want   string // the version of HTTP, "" if there is no handshake
	}{
		"whatever is best": {nil, "HTTP/2.0"},
		"TLS 1.3":          {func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, "HTTP/2.0"},
		"TLS 1.2":          {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "HTTP/2.0"},
		"TLS 1.1":          {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, ""},
		"HTTP/1.1":         {func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, "HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := trusting(t, one, test.change)
			if name == "HTTP/1.1" {
				client.Transport.(*http.Transport).ForceAttemptHTTP2 = false //nolint:forcetypeassert // trusting makes it one
			}
			body, _, err := told(t, client, l)
			if body != test.want || (err == nil) != (test.want != "") {
				t.Errorf("%q, %v, want %q", body, err, test.want)
			}
		})
	}
}

// A new certificate holds for new connections; what is no certificate changes nothing.
func TestCertificateIsSwapped(t *testing.T) {
	t.Parallel()
	files, one, two := tlsFiles(t), pair(t, 1), pair(t, 2)
	one.in(t, files)
	var said output
	l := serving(t, config.HTTP{TLS: files}, hclog.New(&hclog.LoggerOptions{Output: &said}))
	before := trusting(t, one, nil)
	if _, number, err := told(t, before, l); err != nil || number != 1 {
		t.Fatalf("certificate %d, %v", number, err)
	}

	two.in(t, files)
	l.reload()
	eventually(t, "a new handshake shows the new certificate", func() bool {
		_, number, err := told(t, trusting(t, two, nil), l)
		return err == nil && number == 2
	})
	if body, number, err := told(t, before, l); err != nil || number != 1 || body != "HTTP/2.0" {
		t.Errorf("an open connection answers %s with certificate %d, %v", body, number, err)
	}

	put(t, files.Key, one.key)
	l.reload()
	eventually(t, "a pair that does not fit is named", func() bool {
		return strings.Contains(said.String(), "[WARN]  certificate is unusable, the old one stays") && strings.Contains(said.String(), "private key does not match public key")
	})
	if _, number, err := told(t, trusting(t, two, nil), l); err != nil || number != 2 {
		t.Errorf("after a bad pair: certificate %d, %v", number, err)
	}
}

// Nobody has to ask, and nobody is told the same twice unless he asks.
func TestCertificatesAreWatched(t *testing.T) {
	t.Parallel()
	files, one, two := tlsFiles(t), pair(t, 1), pair(t, 2)
	one.in(t, files)
	files.ClientCA = filepath.Join(t.TempDir(), "ca")
	put(t, files.ClientCA, one.cert)
	synctest.Test(t, func(t *testing.T) {
		c, err := openCertificates(files)
		if err != nil {
			t.Fatal(err)
		}
		var said output
		ctx, cancel := context.WithCancel(t.Context())
		watched := make(chan struct{})
		go func() { // waited for below
			defer close(watched)
			c.watch(ctx, hclog.New(&hclog.LoggerOptions{Output: &said}))
		}()
		number := func() int64 { return c.current.Load().Certificates[0].Leaf.SerialNumber.Int64() }
		later := func(d time.Duration) {
			sleep(t.Context(), d)
			synctest.Wait()
		}

		later(10 * certificatePoll)
		if said.String() != "" {
			t.Errorf("files that stay as they are are worth saying:\n%s", &said)
		}
		two.in(t, files)
		later(certificatePoll)
		if number() != 2 || strings.Count(said.String(), "certificate changed") != 1 {
			t.Errorf("certificate %d after a change:\n%s", number(), &said)
		}
		put(t, files.ClientCA, two.cert)
		later(certificatePoll)
		if strings.Count(said.String(), "certificate changed") != 2 {
			t.Errorf("another CA of clients:\n%s", &said)
		}
		put(t, files.Cert, one.cert) // and not yet its key
		later(10 * certificatePoll)
		if number() != 2 || strings.Count(said.String(), "unusable") != 1 {
			t.Errorf("certificate %d with half of a pair:\n%s", number(), &said)
		}
		wake(c.asked)
		synctest.Wait()
		if strings.Count(said.String(), "unusable") != 2 {
			t.Errorf("who asks is not told:\n%s", &said)
		}
		if err := os.Remove(files.Key); err != nil {
			t.Error(err)
		}
		later(2 * certificatePoll)
		if number() != 2 || strings.Count(said.String(), "http.tls.key: open") != 1 {
			t.Errorf("certificate %d without a key:\n%s", number(), &said)
		}
		put(t, files.Key, one.key)
		later(certificatePoll)
		if number() != 1 {
			t.Errorf("certificate %d with both:\n%s", number(), &said)
		}
		cancel()
		<-watched
	})
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	server, ours, theirs := pair(t, 1), pair(t, 2), pair(t, 3)
	show := func(p keyPair) func(*tls.Config) {
		return func(c *tls.Config) {
			shown := p.loaded(t)
			// Whatever CAs the server names: a stranger's certificate must come to be judged.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
		}
	}
	for name, test := range map[string]struct {
		must  bool
		show  func(*tls.Config)
		taken bool
	}{
		"must, and has one":       {true, show(ours), true},
		"must, and has none":      {true, nil, true}, // its requests are judged
		"must, and has a strange": {true, show(theirs), false},
		"may, and has one":        {false, show(ours), true},
		"may, and has none":       {false, nil, true},
		"may, and has a strange":  {false, show(theirs), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := tlsFiles(t)
			server.in(t, files)
			files.ClientCA, files.ClientMust = filepath.Join(t.TempDir(), "ca"), test.must
			put(t, files.ClientCA, ours.cert)
			l := serving(t, config.HTTP{TLS: files}, hclog.NewNullLogger())
			if _, _, err := told(t, trusting(t, server, test.show), l); (err == nil) != test.taken {
				t.Errorf("taken %t, %v", !test.taken, err)
			}
		})
	}
}

func TestListenHTTP(t *testing.T) {
	t.Parallel()
	for _, c := range []config.HTTP{
		{Address: "127.0.0.1"},
		{Address: "::1", Port: "0"},
		{Address: "[::1]", Port: "0"},
		{Address: "::"},
		{Address: "localhost"},
		{Address: "127.0.0.1", TLS: config.ServerTLS{Cert: "/nowhere"}}, // half of it is none
	} {
		l, err := listenHTTP(t.Context(), c)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		l.reload() // without TLS there is nothing to do
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	missing := config.HTTP{Address: "127.0.0.1", TLS: config.ServerTLS{Cert: "/nowhere/cert", Key: "/nowhere/key"}}
	if _, err := listenHTTP(t.Context(), missing); err == nil || !strings.Contains(err.Error(), "http.tls.key: open /nowhere/key") {
		t.Errorf("without its files: %v", err)
	}
}

// A head may be large, but not without end; and no request as a whole has a limit of time.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	server := newServer(http.HandlerFunc(protocol), hclog.NewNullLogger())
	if server.ReadHeaderTimeout <= 0 || server.IdleTimeout <= 0 || server.ReadTimeout != 0 || server.WriteTimeout != 0 {
		t.Errorf("timeouts: header %s, idle %s, read %s, write %s", server.ReadHeaderTimeout, server.IdleTimeout, server.ReadTimeout, server.WriteTimeout)
	}
	if size := server.HTTP2.MaxEncoderHeaderTableSize; size < 1 || size >= 32 { // 32 bytes are those of an empty header (RFC 7541, 4.1); 0 is the default
		t.Errorf("%d bytes of the headers of answers are kept", size)
	}
	l := serving(t, config.HTTP{}, hclog.NewNullLogger())
	for size, want := range map[int]string{48 << 10: "200", 128 << 10: "431"} {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // the test is over
		go func() {        // it ends with the connection
			_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: zot\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", strings.Repeat("x", size))
		}()
		status, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(status, want) {
			t.Errorf("a head of %d bytes is answered with %q, %v", size, status, err)
		}
	}
}

// Who speaks plain HTTP to a port with TLS is told so.
func TestPlainHTTPToTLS(t *testing.T) {
	t.Parallel()
	files := tlsFiles(t)
	pair(t, 1).in(t, files)
	l := serving(t, config.HTTP{TLS: files}, hclog.NewNullLogger())
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if code, body := answers(t.Context(), port, "/"); code != http.StatusBadRequest || !strings.Contains(body, "HTTPS") {
		t.Errorf("%d %s", code, body)
	}
}

// Nobody wants to wait any more, by a second signal: an answer that is on its way ends all the same.
func TestLastMomentOfAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hurry, cancel := context.WithCancel(t.Context())
		begun, end := make(chan struct{}), make(chan struct{})
		server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-end
			time.Sleep(lastMoment / 4) // net/http looks for the end of answers twice a second at least
			protocol(w, r)
		}), hclog.NewNullLogger())
		ours, theirs := net.Pipe()
		l := make(pipes, 1)
		l <- theirs
		server.RegisterOnShutdown(func() { close(l); close(end) })
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }() // waited for by shutDown
		answered := make(chan string, 1)
		go func() {
			_, _ = fmt.Fprint(ours, "GET / HTTP/1.1\r\nHost: zot\r\n\r\n")
			status, _ := bufio.NewReader(ours).ReadString('\n')
			answered <- status
		}()
		<-begun
		cancel()
		if err := shutDown(hurry, server, served, patience); err != nil {
			t.Error(err)
		}
		if status := <-answered; !strings.Contains(status, "200") {
			t.Errorf("status %s", status)
		}
	})
}
