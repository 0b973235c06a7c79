package signed_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"slices"
	"testing"
	"time"

	gocose "github.com/veraison/go-cose"
)

// timestamp is where envelopes have one.
const timestamp = "io.cncf.notary.timestampSignature"

// timestampOf returns that of an envelope in JWS.
func timestampOf(tb testing.TB, envelope []byte) []byte {
	tb.Helper()
	var e struct {
		Header struct {
			Timestamp []byte `json:"io.cncf.notary.timestampSignature"`
		} `json:"header"`
	}
	if err := json.Unmarshal(envelope, &e); err != nil {
		tb.Fatal(err)
	}
	return e.Header.Timestamp
}

// token is a time stamp: RFC 5652, "Signed-data Content Type", in its ContentInfo.
type token struct {
	Type    asn1.ObjectIdentifier
	Content struct {
		Version      int
		Digests      asn1.RawValue
		Encapsulated asn1.RawValue
		Certificates asn1.RawValue
		Signers      []asn1.RawValue `asn1:"set"`
	} `asn1:"explicit,tag:0"`
}

// restamped returns a time stamp with more in it; what is signed stays.
func restamped(t *testing.T, der []byte, change func(*token)) []byte {
	t.Helper()
	var one token
	if rest, err := asn1.Unmarshal(der, &one); err != nil || len(rest) > 0 {
		t.Fatal(len(rest), err)
	}
	one.Content.Certificates.FullBytes = nil
	change(&one)
	return must(asn1.Marshal(one))
}

// A time stamp is no part of what is signed either: whoever has an envelope of a certificate that has expired puts any there.
func TestTimestampsOfStrangers(t *testing.T) {
	t.Parallel()
	small := newAuthority(t, "More")
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	costly := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8199, 1), E: 1<<31 - 1}
	large := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, small.certificate, costly, small.key))))
	certificates := func(all ...*x509.Certificate) func(*token) {
		return func(one *token) {
			for _, c := range all {
				one.Content.Certificates.Bytes = slices.Concat(one.Content.Certificates.Bytes, c.Raw)
			}
		}
	}
	for name, test := range map[string]struct {
		change  func(*token)
		trusted bool
	}{
		"as it is":          {func(*token) {}, true},
		"a certificate":     {certificates(small.certificate), true},
		"many certificates": {certificates(slices.Repeat(small.chain, 10)...), false},
		"a large key":       {certificates(large), false},
		"two signers": {func(one *token) {
			one.Content.Signers = slices.Repeat(one.Content.Signers, 2)
		}, false},
		"no signer": {func(one *token) { one.Content.Signers = nil }, false},
		"too large": {func(one *token) {
			one.Content.Digests.Bytes = slices.Repeat(one.Content.Digests.Bytes, 64<<10/len(one.Content.Digests.Bytes))
			one.Content.Digests.FullBytes = nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := recorded(t)
			image := r.image("timestamped")
			one := r.content[r.besideOf(image, jws).Layers[0].Digest]
			var other gocose.Sign1Message
			if err := other.UnmarshalCBOR(r.content[r.besideOf(image, cose).Layers[0].Digest]); err != nil {
				t.Fatal(err)
			}
			r.about[image.Digest] = nil
			r.attachEnvelope(image, jws, reheaded(t, one, func(header map[string]any) {
				header[timestamp] = restamped(t, timestampOf(t, one), test.change)
			}))
			other.Headers.RawUnprotected = nil
			other.Headers.Unprotected[timestamp] = restamped(t, other.Headers.Unprotected[timestamp].([]byte), test.change)
			r.attachEnvelope(image, cose, must(other.MarshalCBOR()))
			want := "notation " + brief
			if !test.trusted {
				want = "notation untrusted"
			}
			in(t, 2030, func(t *testing.T) {
				t.Helper()
				if found := lines(of(t, r, image, certificate("ca", "root"), certificate("tsa", "clock"))); !slices.Equal(found, []string{want, want}) {
					t.Errorf("found %q, want %q", found, want)
				}
			})
		})
	}
}
