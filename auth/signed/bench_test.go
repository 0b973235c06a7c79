package signed_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-16d79997/zot/auth/signed"
)

// BenchmarkOf is as much as a call can have to do: a hundred signatures, none by any of a hundred keys, each of as much as may be signed.
func BenchmarkOf(b *testing.B) {
	for name, generate := range map[string]func() crypto.Signer{
		"P-256":   func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) },
		"P-384":   func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) },
		"P-521":   func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) },
		"RSA":     func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) },
		"Ed25519": func() crypto.Signer { _, k, _ := ed25519.GenerateKey(rand.Reader); return k },
	} {
		for _, keys := range []int{1, 100} {
			b.Run(name+"/keys="+strconv.Itoa(keys), func(b *testing.B) {
				r := recorded(b)
				image := r.image("unsigned")
				var trusted []signed.Trusted
				for range keys {
					trusted = append(trusted, signed.Trusted{Tool: signed.Cosign, Content: public(generate().Public())})
				}
				stranger := generate()
				var layers []v1.Descriptor
				for i := range 100 {
					text := payloadOf(image.Digest, i)
					d := r.blob(payload, []byte(text))
					d.Annotations = map[string]string{annotation: signedBy(stranger, text)}
					layers = append(layers, d)
				}
				r.payloads(v1.Manifest{Layers: layers}, image)
				for b.Loop() {
					if found, err := signed.Of(b.Context(), r, image, trusted); err != nil || len(found) != 100 {
						b.Fatal(len(found), err)
					}
				}
			})
		}
	}
}

func payloadOf(d digest.Digest, n int) string {
	return fmt.Sprintf(`{"critical":{"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":%-64000d}`, d, n)
}

func signedBy(key crypto.Signer, text string) string {
	hash := crypto.SHA256
	message := []byte(text)
	if _, ok := key.(ed25519.PrivateKey); ok {
		hash = 0
	} else {
		h := hash.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	return base64.StdEncoding.EncodeToString(must(key.Sign(rand.Reader, message, hash)))
}

// BenchmarkOfNotation is a hundred envelopes, each by another signer whom nobody of a hundred trusts.
func BenchmarkOfNotation(b *testing.B) {
	for _, certificates := range []int{1, 100} {
		b.Run("certificates="+strconv.Itoa(certificates), func(b *testing.B) {
			r := recorded(b)
			image := r.image("unsigned")
			var trusted []signed.Trusted
			for range certificates {
				trusted = append(trusted, newAuthority(b, "Root").trusted("ca"))
			}
			for range 100 {
				leaf := newAuthority(b, "Root").below(b, "Below").issue(b, "Leaf", nil)
				r.attachEnvelope(image, jws, leaf.sign(b, jws, image, nil))
			}
			for b.Loop() {
				if found, err := signed.Of(b.Context(), r, image, trusted); err != nil || len(found) != 100 {
					b.Fatal(len(found), err)
				}
			}
		})
	}
}
