package signed

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"github.com/notaryproject/notation-core-go/revocation"
	"github.com/notaryproject/notation-core-go/revocation/crl"
	"github.com/notaryproject/notation-core-go/revocation/purpose"
	"github.com/notaryproject/notation-core-go/revocation/result"
)

// maxAsking is how long a call waits for other servers, all in all.
const maxAsking = 5 * time.Second

// asking is how long a call may still wait for other servers.
type asking struct {
	left time.Duration
}

// bounded asks whether the certificates of a chain have been revoked, each chain once a call. Notation has it asked only for chains that
// somebody trusted has issued: so the addresses in them are not what a stranger has written there.
type bounded struct {
	revocation.Validator

	asking  *asking
	answers map[string]answer
}

type answer struct {
	results []*result.CertRevocationResult
	err     error
}

// newRevocation makes what asks about signers, and about who says when something was signed. Nothing of it outlives its calls.
func newRevocation() (signers, clocks revocation.Validator, err error) {
	client := &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		// Where an answer is from another address than the certificate's, whoever sends it there is on the way.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       maxAsking,
	}
	fetcher, err := crl.NewHTTPFetcher(client)
	if err != nil {
		return nil, nil, err
	}
	asking := &asking{left: maxAsking}
	both := map[purpose.Purpose]*bounded{}
	for _, p := range []purpose.Purpose{purpose.CodeSigning, purpose.Timestamping} {
		v, err := revocation.NewWithOptions(revocation.Options{OCSPHTTPClient: client, CRLFetcher: fetcher, CertChainPurpose: p})
		if err != nil {
			return nil, nil, err
		}
		both[p] = &bounded{Validator: v, asking: asking, answers: map[string]answer{}}
	}
	return both[purpose.CodeSigning], both[purpose.Timestamping], nil
}

// ValidateContext is revocation.Validator's.
func (b *bounded) ValidateContext(ctx context.Context, options revocation.ValidateContextOptions) ([]*result.CertRevocationResult, error) {
	of := chainKey(options.CertChain) + options.AuthenticSigningTime.String()
	if a, ok := b.answers[of]; ok {
		return a.results, a.err
	}
	if b.asking.left <= 0 {
		return nil, errors.New("others have been waited for long enough")
	}
	ctx, cancel := context.WithTimeout(ctx, b.asking.left)
	defer cancel()
	begin := time.Now()
	results, err := b.Validator.ValidateContext(ctx, options)
	b.asking.left -= time.Since(begin)
	b.answers[of] = answer{results, err}
	return results, err
}

// chainKey returns a text that no other chain has.
func chainKey(chain []*x509.Certificate) string {
	var all []byte
	for _, c := range chain { // DER says where it ends
		all = append(all, c.Raw...)
	}
	return string(all)
}
