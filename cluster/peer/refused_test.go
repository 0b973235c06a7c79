package peer_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/seed-16d79997/zot/cluster/peer"
)

// authority is an operator's own CA.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         ed25519.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &authority{t: t, key: key, pool: x509.NewCertPool()}
	a.certificate = a.sign(template, template, public)
	a.pool.AddCert(a.certificate)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, public ed25519.PublicKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate
}

// give sets certificates of this CA, valid until notAfter.
func (a *authority) give(c *peer.Config, notAfter time.Time) {
	a.t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: c.Node},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
	}, a.certificate, public)
	c.Certificate = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
	c.CA = a.pool
}

func wantRefused(t *testing.T, err error, reason peer.Reason, says ...string) {
	t.Helper()
	var refused *peer.RefusedError
	if !errors.As(err, &refused) || refused.Reason != reason || !containsAll(refused.Detail, says) {
		t.Fatalf("got %v, want a refusal for %q that says %q", err, reason, says)
	}
}

// TestRefusals dials in both directions: each side must say and log the same reason in either role.
func TestRefusals(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	one, other := newAuthority(t), newAuthority(t)
	for name, test := range map[string]struct {
		a, b   func(*peer.Config)
		reason peer.Reason
		says   []string
	}{
		"cluster name": {
			b:      func(c *peer.Config) { c.Cluster = "test" },
			reason: peer.ClusterName, says: []string{`"prod"`, `"test"`, `"zot-a"`, `"zot-b"`},
		},
		"secret, derived certificates": {
			b:      func(c *peer.Config) { c.Secrets = [][]byte{line("b")} },
			reason: peer.Secret, says: []string{"secretFile"},
		},
		"secret, only one side lacks the other's line": {
			a:      func(c *peer.Config) { c.Secrets = [][]byte{line("a"), line("b")} },
			b:      func(c *peer.Config) { c.Secrets = [][]byte{line("b")} },
			reason: peer.Secret, says: []string{"secretFile"},
		},
		"secret and cluster name": {
			b:      func(c *peer.Config) { c.Secrets, c.Cluster = [][]byte{line("b")}, "test" },
			reason: peer.Secret,
		},
		"secret, own certificates": {
			a:      func(c *peer.Config) { one.give(c, soon) },
			b:      func(c *peer.Config) { one.give(c, soon); c.Secrets = [][]byte{line("b")} },
			reason: peer.Secret, says: []string{`"zot-a"`, `"zot-b"`, "secretFile"},
		},
		"secret, own certificates, one side lacks the other's line": {
			a:      func(c *peer.Config) { one.give(c, soon); c.Secrets = [][]byte{line("a"), line("b")} },
			b:      func(c *peer.Config) { one.give(c, soon); c.Secrets = [][]byte{line("b")} },
			reason: peer.Secret, says: []string{`"zot-a"`, `"zot-b"`, "secretFile"},
		},
		"own certificates of two CAs": {
			a:      func(c *peer.Config) { one.give(c, soon) },
			b:      func(c *peer.Config) { other.give(c, soon) },
			reason: peer.Certificate,
		},
		"own certificates, all expired": {
			a:      func(c *peer.Config) { one.give(c, time.Now().Add(-time.Minute)) },
			b:      func(c *peer.Config) { one.give(c, time.Now().Add(-time.Minute)) },
			reason: peer.Certificate,
		},
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			ca, cb := config("zot-a"), config("zot-b")
			if test.a != nil {
				test.a(&ca)
			}
			test.b(&cb)
			a, b := start(t, ca, handleEcho), start(t, cb, handleEcho)
			for _, pair := range [][2]*node{{a, b}, {b, a}} {
				_, err := pair[0].Stream(peer.APIProtocol).Dial(t.Context(), pair[1].target())
				wantRefused(t, err, test.reason, test.says...)
				if strings.Contains(err.Error(), "x509") && test.reason == peer.Secret {
					t.Errorf("raw certificate text: %v", err)
				}
				reason := "reason=" + string(test.reason)
				if strings.Contains(reason, " ") {
					reason = `reason="` + string(test.reason) + `"`
				}
				pair[0].log.await(t, "[WARN]", "refused when dialing", reason)
				pair[1].log.await(t, "[WARN]", "refused when called", reason)
			}
		})
	}
}

func TestIncarnationIsRefusedByBothSides(t *testing.T) {
	a, b := start(t, config("zot-a")), start(t, config("zot-b"))
	to := b.target()
	to.Incarnation = incarnation("the disk before")
	_, err := a.Stream(peer.APIProtocol).Dial(t.Context(), to)
	wantRefused(t, err, peer.Incarnation, to.Incarnation, incarnation("zot-b"), `"zot-b"`)
	b.log.await(t, "refused when called", "reason=incarnation", to.Incarnation)
	a.log.await(t, "refused when dialing", "reason=incarnation", to.Incarnation)
}

func TestOwnCertificates(t *testing.T) {
	noLeak(t)
	own := newAuthority(t)
	ca, cb := config("zot-a"), config("zot-b")
	own.give(&ca, time.Now().Add(time.Hour))
	own.give(&cb, time.Now().Add(time.Hour))
	a, b := start(t, ca, handleEcho), start(t, cb, handleEcho)
	mustEcho(t, a, b.target())
	for _, lines := range [][][]byte{{line("a"), line("b")}, {line("b"), line("a")}, {line("b")}} {
		for _, n := range []*node{a, b} {
			if err := n.Rotate(lines); err != nil {
				t.Fatal(err)
			}
		}
		mustEcho(t, a, b.target())
		mustEcho(t, b, a.target())
	}
	c := config("zot-c")
	c.Secrets = [][]byte{line("b")}
	derived := start(t, c, handleEcho)
	_, err := derived.Call(t.Context(), a.target(), "/echo", nil)
	wantRefused(t, err, peer.Secret)
	_, err = a.Call(t.Context(), derived.target(), "/echo", nil)
	wantRefused(t, err, peer.Certificate)
}

func TestRefusalIsLoggedOnce(t *testing.T) {
	c := config("zot-b")
	c.Cluster = "test"
	a, b := start(t, config("zot-a")), start(t, c)
	for range 5 {
		_, err := b.Stream(peer.APIProtocol).Dial(t.Context(), a.target())
		wantRefused(t, err, peer.ClusterName)
	}
	for _, n := range []*node{a, b} {
		n.stop()
		if lines := strings.Count(n.log.String(), "[WARN]"); lines != 1 {
			t.Errorf("%s logged %d warnings:\n%s", n.name, lines, n.log)
		}
	}
}
