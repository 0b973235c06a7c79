package signed_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature"
	"golang.org/x/crypto/ocsp"

	"github.com/seed-16d79997/zot/auth/signed"
)

// responder answers whether certificates have been revoked.
type responder struct {
	*httptest.Server

	issuer  *holder
	padding int // bytes that say nothing
	asked   atomic.Int32
	revoked atomic.Bool
	away    atomic.Bool // sends everybody elsewhere
}

func newResponder(t *testing.T) *responder {
	t.Helper()
	r := &responder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.asked.Add(1)
		if r.away.Load() && request.URL.Path != "/elsewhere" {
			http.Redirect(w, request, "/elsewhere", http.StatusFound)
			return
		}
		_, _ = w.Write(r.answer())
	}))
	t.Cleanup(r.Close)
	return r
}

// answer is a list of what has been revoked: the certificate with number 7, or none.
func (r *responder) answer() []byte {
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	if r.padding > 0 {
		list.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, r.padding)}}
	}
	if r.revoked.Load() {
		list.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: time.Now().Add(-time.Minute)}}
	}
	return must(x509.CreateRevocationList(rand.Reader, list, r.issuer.certificate, r.issuer.key))
}

func TestRevokedCertificates(t *testing.T) {
	t.Parallel()
	r := recorded(t)
	image := r.image("unsigned")
	list := newResponder(t)
	root := newAuthority(t, "Root")
	list.issuer = root
	leaf := root.issue(t, "Leaf", func(c *x509.Certificate) {
		c.SerialNumber, c.CRLDistributionPoints = big.NewInt(7), []string{farURL(list.Server)}
	})
	// Several signatures by one certificate: it is asked about once.
	for i, mediaType := range []string{jws, cose, jws} {
		r.attachEnvelope(image, mediaType, leaf.sign(t, mediaType, image, func(s *signature.SignRequest) {
			s.SigningTime = s.SigningTime.Add(time.Duration(i) * time.Hour)
		}))
	}
	expect := func(what string, asked int32, want string, trusted ...signed.Trusted) {
		t.Helper()
		list.asked.Store(0)
		if found := lines(of(t, r, image, trusted...)); !slices.Equal(found, []string{want, want, want}) {
			t.Errorf("%s: found %q, want %q", what, found, want)
		}
		if n := list.asked.Load(); n != asked {
			t.Errorf("%s: asked %d times, want %d", what, n, asked)
		}
	}
	expect("not revoked", 1, "notation CN=Leaf", root.trusted("ca"))
	expect("no root", 0, "notation untrusted CN=Leaf")
	expect("another root", 0, "notation untrusted CN=Leaf", newAuthority(t, "Root").trusted("ca"))
	list.revoked.Store(true)
	expect("revoked", 1, "notation untrusted CN=Leaf", root.trusted("ca"))
	list.revoked.Store(false)
	list.away.Store(true)
	expect("sent elsewhere", 1, "notation untrusted CN=Leaf", root.trusted("ca"))
	list.away.Store(false)
	list.issuer = newAuthority(t, "Root")
	expect("another's list", 1, "notation untrusted CN=Leaf", root.trusted("ca"))
	list.Close()
	expect("no answer", 0, "notation untrusted CN=Leaf", root.trusted("ca"))
}

// Those who answer for one certificate at a time are asked, too.
func TestStatusOfCertificates(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "Root")
	status := ocsp.Good
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(must(ocsp.CreateResponse(root.certificate, root.certificate, ocsp.Response{
			Status: status, SerialNumber: big.NewInt(7), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour), RevokedAt: time.Now().Add(-time.Hour),
		}, root.key)))
	}))
	t.Cleanup(server.Close)
	leaf := root.issue(t, "Leaf", func(c *x509.Certificate) { c.SerialNumber, c.OCSPServer = big.NewInt(7), []string{farURL(server)} })
	r := recorded(t)
	image := r.image("unsigned")
	r.attachEnvelope(image, jws, leaf.sign(t, jws, image, nil))
	if found := lines(of(t, r, image, root.trusted("ca"))); !slices.Equal(found, []string{"notation CN=Leaf"}) {
		t.Errorf("good: %q", found)
	}
	status = ocsp.Revoked
	if found := lines(of(t, r, image, root.trusted("ca"))); !slices.Equal(found, []string{"notation untrusted CN=Leaf"}) {
		t.Errorf("revoked: %q", found)
	}
}

// A chain is not part of what is signed. Whoever has a genuine envelope makes up who has issued the trusted certificate, and where to ask.
func TestAddressesOfStrangers(t *testing.T) {
	t.Parallel()
	list, strange := newResponder(t), newResponder(t)
	root := newAuthority(t, "Root")
	list.issuer, strange.issuer = root.below(t, "Between"), root
	leaf := list.issuer.issue(t, "Leaf", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{farURL(list.Server)} })
	r := recorded(t)
	image := r.image("unsigned")
	genuine := leaf.sign(t, jws, image, nil)
	with := func(change func(*x509.Certificate)) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			asAuthority(c)
			change(c)
		}
	}
	for _, ask := range []func(*x509.Certificate){
		func(c *x509.Certificate) { c.CRLDistributionPoints = []string{farURL(strange.Server)} },
		func(c *x509.Certificate) { c.OCSPServer = []string{farURL(strange.Server)} },
		func(*x509.Certificate) {},
	} {
		stranger := hold(t, "Stranger", newAuthority(t, "Strange root"), newKey(), with(ask))
		above := hold(t, "Root", stranger, root.key, with(ask)) // no stranger has the key, but its public half is all that this takes
		r.attachEnvelope(image, jws, rechained(t, genuine, append([]*x509.Certificate{leaf.certificate, list.issuer.certificate}, above.chain...)))
	}
	r.attachEnvelope(image, jws, genuine)
	if found := lines(of(t, r, image, list.issuer.trusted("ca"))); !slices.Equal(found, slices.Repeat([]string{"notation CN=Leaf"}, 4)) {
		t.Errorf("found %q", found)
	}
	if n := strange.asked.Load(); n != 0 {
		t.Errorf("the stranger was asked %d times", n)
	}
	if n := list.asked.Load(); n != 1 {
		t.Errorf("the list was asked for %d times, though what strangers add says nothing of the certificate", n)
	}
}

// rechained returns an envelope with other certificates.
func rechained(t *testing.T, envelope []byte, chain []*x509.Certificate) []byte {
	t.Helper()
	return reheaded(t, envelope, func(header map[string]any) {
		var all [][]byte
		for _, c := range chain {
			all = append(all, c.Raw)
		}
		header["x5c"] = all
	})
}

// reheaded returns an envelope as changed in what is not signed.
func reheaded(t *testing.T, envelope []byte, change func(header map[string]any)) []byte {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(envelope, &all); err != nil {
		t.Fatal(err)
	}
	change(all["header"].(map[string]any))
	return must(json.Marshal(all))
}

// Genuine envelopes of other images have nobody asked: whoever gathers many could have the time of this image's run out.
func TestEnvelopesOfOtherImages(t *testing.T) {
	t.Parallel()
	list := newResponder(t)
	list.issuer = newAuthority(t, "Root")
	leaf := list.issuer.issue(t, "Leaf", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{farURL(list.Server)} })
	r := recorded(t)
	image := r.image("unsigned")
	for _, mediaType := range []string{jws, cose} {
		r.attachEnvelope(image, mediaType, leaf.sign(t, mediaType, r.image("new"), nil))
	}
	found := lines(of(t, r, image, list.issuer.trusted("ca")))
	if !slices.Equal(found, slices.Repeat([]string{"notation untrusted CN=Leaf"}, 2)) || list.asked.Load() != 0 {
		t.Errorf("found %q, and asked %d times", found, list.asked.Load())
	}
}

// Certificates name this machine, where others believe whoever comes from it.
func TestAddressesOfThisMachine(t *testing.T) {
	t.Parallel()
	list := newResponder(t)
	list.issuer = newAuthority(t, "Root")
	_, port, _ := strings.Cut(strings.TrimPrefix(list.URL, "http://"), ":")
	for _, address := range []string{list.URL, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port} {
		for name, ask := range map[string]func(*x509.Certificate){
			"list":   func(c *x509.Certificate) { c.CRLDistributionPoints = []string{address} },
			"status": func(c *x509.Certificate) { c.OCSPServer = []string{address} },
		} {
			r := recorded(t)
			image := r.image("unsigned")
			r.attachEnvelope(image, jws, list.issuer.issue(t, "Leaf", ask).sign(t, jws, image, nil))
			found := lines(of(t, r, image, list.issuer.trusted("ca")))
			if !slices.Equal(found, []string{"notation untrusted CN=Leaf"}) || list.asked.Load() != 0 {
				t.Errorf("%s at %s: found %q, and asked %d times", name, address, found, list.asked.Load())
			}
		}
	}
}

// All answers of a call have 4 MiB at most: what is longer says nothing.
func TestLongAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mebibytes, certificates int
		want                    string
	}{
		{3, 1, "notation CN=Leaf"},
		{1, 2, "notation CN=Leaf"},
		{3, 2, "notation untrusted CN=Leaf"},
		{5, 1, "notation untrusted CN=Leaf"},
	} {
		list := newResponder(t)
		list.padding = test.mebibytes << 20
		list.issuer = newAuthority(t, "Root")
		ask := func(c *x509.Certificate) { c.CRLDistributionPoints = []string{farURL(list.Server)} }
		r := recorded(t)
		image := r.image("unsigned")
		by := list.issuer
		if test.certificates == 2 {
			by = hold(t, "Between", by, by.key, func(c *x509.Certificate) { // by the same key, so that one list says something of both
				asAuthority(c)
				ask(c)
			})
		}
		r.attachEnvelope(image, jws, by.issue(t, "Leaf", ask).sign(t, jws, image, nil))
		if found := lines(of(t, r, image, list.issuer.trusted("ca"))); !slices.Equal(found, []string{test.want}) {
			t.Errorf("%d MiB of %d certificates: found %q, want %q", test.mebibytes, test.certificates, found, test.want)
		}
	}
}
