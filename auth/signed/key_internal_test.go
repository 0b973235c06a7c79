package signed

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
)

func signers(t *testing.T) []crypto.Signer {
	t.Helper()
	var all []crypto.Signer
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, small, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, large, small)
}

func sign(t *testing.T, by crypto.Signer, body []byte) []byte {
	t.Helper()
	hash, message := crypto.Hash(0), body
	if _, ok := by.(ed25519.PrivateKey); !ok {
		sum := sha256.Sum256(body)
		hash, message = crypto.SHA256, sum[:]
	}
	signature, err := by.Sign(rand.Reader, message, hash)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// How long a signature is says of what kind its key may be. Many are drawn: those of ECDSA are of several lengths.
func TestLengthOfSignatures(t *testing.T) {
	t.Parallel()
	all := signers(t)
	for range 200 {
		for i, by := range all {
			signature := sign(t, by, []byte("message"))
			for j, of := range all {
				k := key{public: of.Public()}
				// Ed25519 and P-256 are too alike to be told apart.
				if fits := k.fits(signature); i == j && !fits || i != j && fits && i != 4 && j != 4 {
					t.Fatalf("%T of %d bytes fits %T: %t", by, len(signature), of, fits)
				}
			}
		}
	}
}

// A call does so much work and no more, however much there is to do, and large keys are more work.
func TestWork(t *testing.T) {
	t.Parallel()
	body := []byte("message")
	all := signers(t)
	signatures := make([][]byte, len(all))
	for i, by := range all {
		signatures[i] = sign(t, by, body)
	}
	for i, want := range []int{1, 16, 48, 1, 2} {
		k := key{public: all[i].Public(), text: "key"}
		trusted := trust{keys: []key{k}}
		if trusted.author(newMessage(body), signatures[i]) != "key" || trusted.work != want {
			t.Errorf("%T: it does not verify, or not by %d of work: %d", k.public, want, trusted.work)
		}
		trusted.work = maxWork - want
		if trusted.author(newMessage(body), signatures[i]) != "key" {
			t.Errorf("%T: it does not verify, and there was enough left", k.public)
		}
		if trusted.author(newMessage(body), signatures[i]) != "" {
			t.Errorf("%T: it verifies, and nothing was left", k.public)
		}
	}
	// A key of another kind is no work.
	trusted := trust{keys: []key{{public: all[2].Public()}, {public: all[3].Public()}}}
	if trusted.author(newMessage(body), signatures[0]) != "" || trusted.work != 0 {
		t.Errorf("%d of work by keys that it cannot be by", trusted.work)
	}
	k := key{public: all[4].Public()}
	if work := k.work(newMessage(make([]byte, maxPayload))); work != 6 {
		t.Errorf("Ed25519 of a large message is %d of work", work)
	}
}
