package signed_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/notaryproject/notation-core-go/signature"

	"github.com/seed-16d79997/zot/auth/signed"
)

func TestEnvelopes(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "Root")
	below := root.below(t, "Below")
	leaf := below.issue(t, "Leaf", nil)
	alone := newLeaf(t, "Alone")
	long := root
	for range 8 {
		long = long.below(t, "Long")
	}
	ten := long.issue(t, "Ten", nil)
	eleven := long.below(t, "Long").issue(t, "Eleven", nil)
	named := root.issue(t, strings.Repeat("a", 1000), nil)
	talker := root.issue(t, "Talker", func(c *x509.Certificate) {
		c.Subject.OrganizationalUnit = slices.Repeat([]string{strings.Repeat("a", 60)}, 20)
	})
	attribute := func(key string, critical bool) func(*signature.SignRequest) {
		return func(s *signature.SignRequest) {
			s.ExtendedSignedAttributes = append(s.ExtendedSignedAttributes, signature.Attribute{Key: key, Critical: critical, Value: "v"})
		}
	}
	authority := func(s *signature.SignRequest) { s.SigningScheme = signature.SigningSchemeX509SigningAuthority }

	for name, test := range map[string]struct {
		signer  *holder
		request func(*signature.SignRequest)
		trusted []signed.Trusted
		want    string
	}{
		"by the root":                   {leaf, nil, []signed.Trusted{root.trusted("ca")}, "notation CN=Leaf"},
		"by who is between":             {leaf, nil, []signed.Trusted{below.trusted("ca")}, "notation CN=Leaf"},
		"by itself":                     {alone, nil, []signed.Trusted{alone.trusted("ca")}, "notation CN=Alone"},
		"another of its own":            {newLeaf(t, "Alone"), nil, []signed.Trusted{alone.trusted("ca")}, "notation untrusted CN=Alone"},
		"ten certificates":              {ten, nil, []signed.Trusted{root.trusted("ca")}, "notation CN=Ten"},
		"eleven certificates":           {eleven, nil, []signed.Trusted{root.trusted("ca")}, "notation untrusted"},
		"a long name":                   {named, nil, []signed.Trusted{root.trusted("ca")}, "notation CN=" + strings.Repeat("a", 1000)},
		"too long a name":               {talker, nil, []signed.Trusted{root.trusted("ca")}, "notation untrusted"},
		"an authority that signs":       {leaf, authority, []signed.Trusted{root.trusted("signingAuthority")}, "notation CN=Leaf"},
		"an authority among the others": {leaf, authority, []signed.Trusted{root.trusted("ca")}, "notation untrusted CN=Leaf"},
		"among authorities":             {leaf, nil, []signed.Trusted{root.trusted("signingAuthority"), root.trusted("tsa")}, "notation untrusted CN=Leaf"},
		"wants a plugin":                {leaf, attribute("io.cncf.notary.verificationPlugin", true), []signed.Trusted{root.trusted("ca")}, "notation untrusted CN=Leaf"},
		"says more":                     {leaf, attribute("com.example.more", false), []signed.Trusted{root.trusted("ca")}, "notation CN=Leaf"},
		"says more that must be heeded": {leaf, attribute("com.example.more", true), []signed.Trusted{root.trusted("ca")}, "notation untrusted CN=Leaf"},
		"another payload": {leaf, func(s *signature.SignRequest) {
			s.Payload.Content = []byte(`{"targetArtifact":{}}`)
		}, []signed.Trusted{root.trusted("ca")}, "notation untrusted CN=Leaf"},
		"no payload": {leaf, func(s *signature.SignRequest) {
			s.Payload.ContentType = "application/json"
		}, []signed.Trusted{root.trusted("ca")}, "notation untrusted"},
	} {
		for _, mediaType := range []string{jws, cose} {
			t.Run(name+", "+mediaType, func(t *testing.T) {
				t.Parallel()
				r := recorded(t)
				image := r.image("unsigned")
				r.attachEnvelope(image, mediaType, test.signer.sign(t, mediaType, image, test.request))
				if found := lines(of(t, r, image, test.trusted...)); !slices.Equal(found, []string{test.want}) {
					t.Errorf("found %q, want %q", found, test.want)
				}
			})
		}
	}
}

// weakRoot returns a root that anybody can break.
func weakRoot() []byte {
	key := weak()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Weak"}, IsCA: true, BasicConstraintsValid: true}
	return block("CERTIFICATE", must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)))
}

// The kinds of keys that notation signs by.
func TestKeysOfNotation(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "Root")
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		leaf := hold(t, "Leaf", root, must(ecdsa.GenerateKey(curve, rand.Reader)), asLeaf)
		for _, mediaType := range []string{jws, cose} {
			r := recorded(t)
			image := r.image("unsigned")
			r.attachEnvelope(image, mediaType, leaf.sign(t, mediaType, image, nil))
			if found := lines(of(t, r, image, root.trusted("ca"))); !slices.Equal(found, []string{"notation CN=Leaf"}) {
				t.Errorf("%s, %s: %q", curve.Params().Name, mediaType, found)
			}
		}
	}
}
