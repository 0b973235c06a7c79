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
	"slices"
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
}

func (s *silent) ValidateContext(ctx context.Context, _ revocation.ValidateContextOptions) ([]*result.CertRevocationResult, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// However many certificates there are, a call waits five seconds for others.
func TestOthersAreWaitedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asking := &asking{left: maxAsking}
		root := &x509.Certificate{Raw: []byte("root")}
		var both []*bounded
		for range 2 { // signers and clocks
			both = append(both, &bounded{
				Validator: &silent{}, trusted: []*x509.Certificate{root}, asking: asking, answers: map[string][]*result.CertRevocationResult{},
			})
		}
		begin := time.Now()
		for i := range byte(100) {
			for _, b := range both {
				chain := []*x509.Certificate{{Raw: []byte{i}}, root}
				if _, err := b.ValidateContext(t.Context(), revocation.ValidateContextOptions{CertChain: chain}); err == nil {
					t.Fatal("nobody has answered, and there is no error")
				}
			}
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("waited %s", took)
		}
	})
}

// obliging is a server that answers of every certificate that has an address.
type obliging struct {
	revocation.Validator

	asked []string // the serial numbers of those with an address, each time
}

func (o *obliging) ValidateContext(_ context.Context, options revocation.ValidateContextOptions) (all []*result.CertRevocationResult, _ error) {
	var asked string
	for _, c := range options.CertChain {
		one := &result.CertRevocationResult{Result: result.ResultNonRevokable}
		if len(c.OCSPServer) > 0 || len(c.CRLDistributionPoints) > 0 {
			asked += c.SerialNumber.String()
			one.Result = result.ResultOK
		}
		all = append(all, one)
	}
	o.asked = append(o.asked, asked)
	return all, nil
}

// Whoever is trusted, and who is above, is not asked about; each chain below is asked about once.
func TestWhoIsAskedAbout(t *testing.T) {
	t.Parallel()
	certificate := func(n int64) *x509.Certificate {
		return &x509.Certificate{Raw: []byte{byte(n)}, SerialNumber: big.NewInt(n), OCSPServer: []string{"a"}, CRLDistributionPoints: []string{"b"}}
	}
	chain := func(numbers ...int64) (all []*x509.Certificate) {
		for _, n := range numbers {
			all = append(all, certificate(n))
		}
		return all
	}
	o := &obliging{}
	b := &bounded{Validator: o, trusted: chain(3, 5), asking: &asking{left: maxAsking}, answers: map[string][]*result.CertRevocationResult{}}
	for _, test := range []struct {
		chain []*x509.Certificate
		asked []string // by then
	}{
		{chain(1, 2, 3), []string{"12"}},
		{chain(1, 2, 3, 4), []string{"12"}},
		{chain(1, 2, 3, 6, 7, 8), []string{"12"}},
		{chain(1, 2, 3, 4, 5, 6), []string{"12", "1234"}},
		{chain(3, 9), []string{"12", "1234", ""}},
		{chain(1, 3), []string{"12", "1234", "", "1"}},
	} {
		results, err := b.ValidateContext(t.Context(), revocation.ValidateContextOptions{CertChain: test.chain})
		if err != nil || len(results) != len(test.chain) || !slices.Equal(o.asked, test.asked) {
			t.Fatalf("%d certificates: %d results, %v; asked %q, want %q", len(test.chain), len(results), err, o.asked, test.asked)
		}
		for _, c := range test.chain {
			if len(c.OCSPServer) == 0 || len(c.CRLDistributionPoints) == 0 {
				t.Error("the caller's certificate has been changed")
			}
		}
		for i, r := range results {
			if r.Result != result.ResultOK && r.Result != result.ResultNonRevokable {
				t.Errorf("certificate %d: %s", i, r.Result)
			}
		}
	}
	if _, err := b.ValidateContext(t.Context(), revocation.ValidateContextOptions{CertChain: chain(1, 2)}); err == nil {
		t.Error("nobody is trusted, and there is no error")
	}
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
		e, ok := parseEnvelope(body, jws.MediaTypeEnvelope)
		if is := ok && e.isModest(); is != want {
			t.Errorf("%d bits: %t, want %t", bits, is, want)
		}
	}
}
