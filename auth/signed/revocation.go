package signed

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/crl"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	"github.com/notaryproject/notation-core-go/revocation/result"
	"github.com/notaryproject/notation-go/verifier/truststore"
)

// What a call may ask of other servers, all in all.
const (
	maxAsking  = 5 * time.Second
	maxAnswers = 4 << 20 // bytes
	maxHeader  = 64 << 10
)

// asking is how long a call may still wait for other servers.
type asking struct {
	left time.Duration
}

// bounded asks whether certificates have been revoked: those of a chain that somebody trusted has issued, directly or not. Who else is in it
// says nothing of them. A chain is no part of what is signed, so that anybody can add certificates above a trusted one, by the name
// and key of its real issuer and with addresses of their own; what is below cannot be changed, as it is signed from there on. So nobody is asked
// but at addresses that the trusted one answers for, and each chain below it once a call.
type bounded struct {
	revocation.Validator

	trusted []*x509.Certificate
	asking  *asking
	answers map[string][]*result.CertRevocationResult
}

// newRevocation makes what asks about signers, and about who says when something was signed, of those whom somebody trusted has
// issued. Nothing of it outlives its calls.
func newRevocation(trusted map[truststore.Type][]*x509.Certificate) (signers, clocks revocation.Validator, err error) {
	client := &http.Client{
		Transport: newNetwork(),
		// Where an answer is from another address than the certificate's, whoever sends it there is on the way.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       maxAsking,
	}
	fetcher, err := crl.NewHTTPFetcher(client)
	if err != nil {
		return nil, nil, err
	}
	asking := &asking{left: maxAsking}
	by := func(p purpose.Purpose, trusted []*x509.Certificate) (*bounded, error) {
		v, err := revocation.NewWithOptions(revocation.Options{OCSPHTTPClient: client, CRLFetcher: fetcher, CertChainPurpose: p})
		return &bounded{Validator: v, trusted: trusted, asking: asking, answers: map[string][]*result.CertRevocationResult{}}, err
	}
	if signers, err = by(purpose.CodeSigning, slices.Concat(trusted[truststore.TypeCA], trusted[truststore.TypeSigningAuthority])); err != nil {
		return nil, nil, err
	}
	clocks, err = by(purpose.Timestamping, trusted[truststore.TypeTSA])
	return signers, clocks, err
}

// ValidateContext is revocation.Validator's.
func (b *bounded) ValidateContext(ctx context.Context, options revocation.ValidateContextOptions) ([]*result.CertRevocationResult, error) {
	below := b.below(options.CertChain)
	if below < 0 {
		return nil, errors.New("nobody trusted has issued the certificates")
	}
	issued := options.CertChain[:below]
	of := chainKey(issued) + options.AuthenticSigningTime.String()
	answers, ok := b.answers[of]
	if !ok {
		chain := slices.Clone(issued)
		for _, c := range options.CertChain[below:] {
			mute := *c
			mute.OCSPServer, mute.CRLDistributionPoints = nil, nil
			chain = append(chain, &mute)
		}
		options.CertChain = chain
		ctx, cancel := context.WithTimeout(ctx, b.asking.left)
		defer cancel()
		begin := time.Now()
		all, err := b.Validator.ValidateContext(ctx, options)
		b.asking.left -= time.Since(begin)
		if err != nil {
			return nil, err
		}
		answers = all[:below:below]
		b.answers[of] = answers
	}
	for range options.CertChain[below:] {
		answers = append(answers, &result.CertRevocationResult{Result: result.ResultNonRevokable})
	}
	return answers, nil
}

// below returns how many certificates of a chain are below the uppermost trusted one; -1 if none is trusted.
func (b *bounded) below(chain []*x509.Certificate) int {
	for i, c := range slices.Backward(chain) {
		if slices.ContainsFunc(b.trusted, c.Equal) {
			return i
		}
	}
	return -1
}

// chainKey returns a text that no other chain has.
func chainKey(chain []*x509.Certificate) string {
	var all []byte
	for _, c := range chain { // DER says where it ends
		all = append(all, c.Raw...)
	}
	return string(all)
}
