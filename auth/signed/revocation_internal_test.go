package signed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-core-go/signature/jws"
)

// silent is a server that does not answer.
type silent struct {
	revocation.Validator

	asked int
}

func (s *silent) ValidateContext(ctx context.Context, _ revocation.ValidateContextOptions) ([]*result.CertRevocationResult, error) {
	s.asked++
	<-ctx.Done()
	return nil, ctx.Err()
}

// However many certificates there are, a call waits five seconds for others, and asks no more then.
func TestOthersAreWaitedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asking := &asking{left: maxAsking}
		signers, clocks := &silent{}, &silent{}
		both := []*bounded{
			{Validator: signers, asking: asking, answers: map[string]answer{}},
			{Validator: clocks, asking: asking, answers: map[string]answer{}},
		}
		begin := time.Now()
		for i := range byte(100) {
			for _, b := range both {
				chain := []*x509.Certificate{{Raw: []byte{i}}}
				if _, err := b.ValidateContext(t.Context(), revocation.ValidateContextOptions{CertChain: chain}); err == nil {
					t.Fatal("nobody has answered, and there is no error")
				}
			}
		}
		if took := time.Since(begin); took != 5*time.Second || signers.asked != 1 || clocks.asked != 0 {
			t.Errorf("waited %s, asked %d and %d times", took, signers.asked, clocks.asked)
		}
	})
}

// Nothing is verified by a key that makes it costly.
func TestLargeKeysAreNotUsed(t *testing.T) {
	t.Parallel()
	for bits, want := range map[int]bool{2048: true, 8192: true, 8200: false, 32768: false, 1024: false} {
		key := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), bits-1, 1), E: 1<<31 - 1}
		by, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key, by)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(map[string]any{"header": map[string]any{"x5c": [][]byte{der}}})
		if err != nil {
			t.Fatal(err)
		}
		if is := isModest(body, jws.MediaTypeEnvelope); is != want {
			t.Errorf("%d bits: %t, want %t", bits, is, want)
		}
	}
}
