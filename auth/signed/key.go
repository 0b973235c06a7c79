package signed

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for message.sum
	_ "crypto/sha512" // likewise
)

// key is a public key of cosign.
type key struct {
	public any    // one that checkKey takes
	text   string // in PEM, of the key and nothing else, however it was given
}

// message is what has been signed. It is hashed once, however many keys there are.
type message struct {
	body []byte
	sums map[crypto.Hash][]byte
}

func newMessage(body []byte) *message {
	return &message{body: body, sums: map[crypto.Hash][]byte{}}
}

func (m *message) sum(h crypto.Hash) []byte {
	if m.sums[h] == nil {
		hash := h.New()
		hash.Write(m.body)
		m.sums[h] = hash.Sum(nil)
	}
	return m.sums[h]
}

// verifies reports whether the key has signed a message.
//
// A signature does not say how. Cosign hashes with SHA-256, and with larger curves also with what fits them, which
// is what it does by itself today; Ed25519 signs the message (in bundles), or its hash (Ed25519ph).
func (k key) verifies(m *message, signature []byte) bool {
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, m.sum(crypto.SHA256), signature) ||
			public.Curve == elliptic.P384() && ecdsa.VerifyASN1(public, m.sum(crypto.SHA384), signature) ||
			public.Curve == elliptic.P521() && ecdsa.VerifyASN1(public, m.sum(crypto.SHA512), signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, m.sum(crypto.SHA256), signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(public, m.body, signature) ||
			ed25519.VerifyWithOptions(public, m.sum(crypto.SHA512), signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	}
	return false
}

// fits reports whether a signature is as long as those of the key. That spares to try nearly all keys but those of the same kind: of
// ECDSA, who is so much shorter by chance has better luck than who guesses the key.
func (k key) fits(signature []byte) bool {
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		numbers := 2 * ((public.Params().BitSize + 7) / 8)
		return len(signature) >= numbers-8 && len(signature) <= numbers+9
	case *rsa.PublicKey:
		return len(signature) == public.Size()
	case ed25519.PublicKey:
		return len(signature) == ed25519.SignatureSize
	}
	return false
}

// maxWork is what a call may spend on verifying by keys: a second or so.
const maxWork = 20_000

// work returns what it costs to verify a message by the key, about, where P-256 is 1.
func (k key) work(m *message) int {
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P384():
			return 16 // twice
		case elliptic.P521():
			return 48 // likewise
		}
		return 1
	case *rsa.PublicKey:
		return 1 + public.N.BitLen()/4096
	}
	return 2 + len(m.body)>>14 // Ed25519 hashes the message with the key
}

// author returns the key that has signed a message, in its text; "" if none has, or if too much has been tried.
func (t *trust) author(m *message, signature []byte) string {
	for _, k := range t.keys {
		if !k.fits(signature) {
			continue
		}
		if t.work += k.work(m); t.work > maxWork {
			return ""
		}
		if k.verifies(m, signature) {
			return k.text
		}
	}
	return ""
}
